"""Copy a scale's verdicts, seeds, tuning and figures to docs/results/<name> and render README from them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from myopia.common import cli
from myopia.common.errors import MyopiaError
from myopia.common.files import atomic_path
from myopia.config.load import ROOT
from myopia.show.readme import render

TABLES = ("verdicts.csv", "seeds.csv", "tuning.csv", "provenance.json")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--results", metavar="DIR", help="a scale's results folder to publish")
    parser.add_argument("--name", help="name to publish it under; default: the folder's name")
    parser.add_argument("--benchmark", metavar="CSV", help="output of make bench to publish")
    args = parser.parse_args(argv)
    published = ROOT / "docs" / "results"
    if args.results:
        source = Path(args.results)
        if not (source / "tables" / "verdicts.csv").is_file():
            raise MyopiaError(f"{source} holds no tables/verdicts.csv: run its scale first")
        target = published / (args.name or source.name)
        target.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            if (source / "tables" / name).is_file():
                shutil.copyfile(source / "tables" / name, target / name)
        for picture in sorted((source / "figures").glob("*.png")):
            shutil.copyfile(picture, target / picture.name)
    if args.benchmark:
        published.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(args.benchmark, published / "attention.csv")
    readme = ROOT / "README.md"
    with atomic_path(readme) as temporary:
        temporary.write_text(render(readme.read_text(), published))


if __name__ == "__main__":
    cli.run(main)
