"""Describe a results folder as a Provenance Run Crate: ro-crate-metadata.json in it, copies of the sources beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.files import write_json
from myopia.data.specs import parse_json

ROOT = Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse arguments, read Snakemake's records, copy the sources, write."""
    parser = cli.parser(__doc__, "results", "records", "out")
    parser.add_argument("--scale", required=True, help="named in the crate")
    parser.add_argument("--settings", required=True, metavar="JSON", help="the resolved scale")
    args = parser.parse_args(argv)

    from myopia.show.crate.build import build, copy_sources
    from myopia.show.crate.records import read_jobs

    results = Path(args.results)
    jobs = read_jobs(Path(args.records), results)
    copy_sources(ROOT, results, parse_json(args.settings, "--settings"))
    write_json(args.out, build(results, jobs, args.scale))


if __name__ == "__main__":
    cli.run(main)
