"""The chunks of a fetch and their lock."""

import threading

from myopia.common import locks
from myopia.data.chunks import Chunks


def test_who_waits_for_a_fetch_gets_the_lock_after_its_chunks_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL_S", 0.02)
    entered = threading.Event()

    def wait():
        with locks.exclusive_lock(tmp_path / "state", "second"):
            Chunks(tmp_path / "state").commit = "abc"
            entered.set()

    with locks.exclusive_lock(tmp_path / "state", "first"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        chunks = Chunks(tmp_path / "state")
        chunks.append([], chunks.cursor)
        assert not entered.wait(0.2)
        chunks.remove()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    waiter.join()
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"lock", "source.json"}
