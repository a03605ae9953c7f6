"""A sharded state is valid like an unsharded one: with its record, and if every file has its checksum."""

import json
import logging

import pytest

from myopia.common.errors import MyopiaError
from myopia.train.state import SHARDED_FORMAT, TRAINER_STATE_FILE, StateDirectory


def save(directory, step):
    directory.begin_sharded(step)
    for rank in range(2):
        (directory.shard_folder(step) / f"__{rank}_0.distcp").write_bytes(bytes([step, rank]) * 100)
    directory.commit_sharded(step, {"curve": [[step, float("nan")]], "sum": 0.5, "count": 2}, 1.5)


@pytest.fixture
def saved(tmp_path):
    """A state directory with sharded states 3 and 6, not locked by anyone."""
    directory = StateDirectory(tmp_path, "print", "run 0")
    with directory:
        for step in (3, 6):
            save(directory, step)
    return directory


def loaded(directory):
    with directory:
        found = directory.load()
    if found is None:
        return None
    trainer_state, record = found
    assert (
        record["format"] == SHARDED_FORMAT
        and trainer_state["curve"][0][0] == record["step"]
        and trainer_state["count"] == 2
    )
    assert directory.shard_folder(record["step"]).is_dir()
    return record["step"]


def names(directory):
    return {path.name for path in directory.folder.iterdir()}


def test_newest_is_loaded_and_older_ones_go(saved):
    with saved:
        save(saved, 9)
    assert loaded(saved) == 9
    assert names(saved) == {"lock", "step-6", "step-6.json", "step-9", "step-9.json"}
    with saved:  # the final state is whole, and the only one
        saved.save(12, {"model": {}}, 2.0, final=True)
    assert names(saved) == {"lock", "step-12.pt", "step-12.json"}


DAMAGE = {
    "a shard is another": lambda d: (d.shard_folder(6) / "__1_0.distcp").write_bytes(b"\x06\x00" * 100),
    "a shard is missing": lambda d: (d.shard_folder(6) / "__0_0.distcp").unlink(),
    "the trainer state is missing": lambda d: (d.shard_folder(6) / TRAINER_STATE_FILE).unlink(),
    "another version": lambda d: (d.folder / "step-6.json").write_text(
        json.dumps({**json.loads((d.folder / "step-6.json").read_text()), "format": "parts 2"})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_bad_state_is_set_aside_and_the_one_before_is_used(saved, damage, caplog):
    damage(saved)
    with caplog.at_level(logging.WARNING):
        assert loaded(saved) == 3
    assert caplog.text.count("[run 0] state at step 6 set aside, not used: ") == 1
    assert not {"step-6", "step-6.json"} & names(saved) and "step-6.json.set-aside" in names(saved)
    with saved:
        save(saved, 6)  # and is written again
    assert loaded(saved) == 6


def test_shards_without_a_record_are_no_state(saved):
    with saved:
        saved.begin_sharded(9)
        (saved.shard_folder(9) / "__0_0.distcp").write_bytes(b"half")  # killed here
    assert loaded(saved) == 6
    assert "step-9" not in names(saved)


def test_a_folder_that_cannot_be_made_says_what_is_left(saved, monkeypatch):
    with saved:
        (saved.folder / "step-9").write_text("in the way")
        with pytest.raises(
            MyopiaError, match=r"run 0: the state at step 9 could not be written to .*step 6 is intact; f"
        ):
            saved.begin_sharded(9)
