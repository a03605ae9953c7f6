"""Where each run and seed is a job of its own, it measures and is measured alone: the tables are the same."""

import gzip
import shutil

from harness import planned, snakemake
from myopia.config.experiment import experiment


def table(path):
    """Rows in an order of their own, as text: every digit counts."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sorted(text.decode().splitlines()[1:]), text.decode().splitlines()[0]


def test_units_measured_apart_make_the_tables_of_one_job(sandbox):
    results = sandbox / "results/smoke"
    names = [t.name for m in experiment("induction").measurements for t in m.tables]
    together = {name: table(results / "measure" / name) for name in names}
    for folder in ("runs", ".state"):  # one run is trained apart as well
        shutil.rmtree(results / folder / "induction-myopic")
    wanted = [f"results/smoke/measure/{name}" for name in names]
    done = snakemake(
        sandbox, "experiments=[induction]", "share_process=False", "--forcerun", "gather_induction", "--", *wanted
    )
    jobs = planned(done.output)
    assert jobs["train"] == jobs["measure_induction"] == 4 and jobs["gather_induction"] == 1  # three are there already
    for name in names:
        assert table(results / "measure" / name) == together[name], name
        assert len(together[name][0]) > 3
