"""Where each run and seed is a job of its own, it measures and is measured alone: the tables are the same."""

import gzip

from harness import checkout, planned, snakemake
from myopia.config.experiment import experiment


def table(path):
    """Rows in an order of their own, as text: every digit counts."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sorted(text.decode().splitlines()[1:]), text.decode().splitlines()[0]


def test_units_measured_apart_make_the_tables_of_one_job(smoke, tmp_path):
    tree = checkout(tmp_path / "project")
    names = [t.name for m in experiment("induction").measurements for t in m.tables]
    wanted = [f"results/smoke/measure/{name}" for name in names]
    jobs = planned(snakemake(tree, "experiments=[induction]", "share_process=False", "--", *wanted).output)
    assert jobs["train"] == jobs["measure_induction"] == 4 and jobs["gather_induction"] == 1
    for name in names:
        apart, together = tree / "results/smoke/measure" / name, smoke.folder / "results/smoke/measure" / name
        assert table(apart) == table(together), name
        assert len(table(apart)[0]) > 3
