"""Write requirements.txt and the conda environments beside this file from pyproject.toml: `make pins`, after a change there.

    python envs/generate.py [--offline | options of `uv pip compile`, such as --upgrade-package ruff]

requirements.txt is everything, exactly, for every platform and Python that pyproject.toml allows. Versions that stand in it
stay unless they must change. An environment is the part of it that the group of the same name in pyproject.toml needs; there
is one for each that a rule of the workflow names. What needs what is told by the comments "via" in requirements.txt, so that
the environments can be written without a network (--offline: these alone). The comments do not tell extras apart: what one
group asks for as an extra of a package is in every environment that has the package.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements.txt"
HEADER = """\
# Exact versions of all that `make` installs, for every platform, and what asks for each. Written by `make pins` from
# pyproject.toml. CUDA's libraries are left out: torch asks for them itself, exactly, and its CPU build has none.
"""
CUDA = re.compile(r"(nvidia|cuda|triton)\b")


class Pin(NamedTuple):
    """One line of requirements.txt."""

    name: str  # as PyPI compares names
    line: str  # as pip reads it: with its marker, without its comment
    via: frozenset[str]  # the packages that ask for it, this project among them


def main(words: list[str]) -> None:
    """See the module's docstring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if words != ["--offline"]:
        resolve(project["dependency-groups"], words)
    for name, text in environments(project).items():
        (ROOT / "envs" / f"{name}.yaml").write_text(text)


def resolve(groups: Iterable[str], options: list[str]) -> None:
    """Have uv write requirements.txt, then leave out what has no place in it."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--fork-strategy=fewest", "--annotation-style=line"]
    command += ["--all-extras", *(f"--group={name}" for name in groups), f"--output-file={REQUIREMENTS.name}"]
    try:
        subprocess.run([*command, *options, "pyproject.toml"], cwd=ROOT, check=True)
    except FileNotFoundError:
        sys.exit("error: uv is needed to choose versions: pip install uv (or write envs/ alone, with --offline)")
    except subprocess.CalledProcessError:
        sys.exit("error: uv wrote no requirements.txt; it says above why")
    kept = [pin for pin in pins() if not CUDA.match(pin.name)]
    lines = [f"{pin.line}  # via {', '.join(sorted(pin.via))}\n" for pin in kept]
    REQUIREMENTS.write_text(HEADER + "".join(lines))


def environments(project: dict[str, Any]) -> dict[str, str]:
    """{name: text of envs/<name>.yaml} of every environment that a rule or a measurement names."""
    groups, known = project["dependency-groups"], pins()
    library = ROOT / "scripts" / "myopia"
    rules = [*(ROOT / "workflow" / "rules").glob("*.smk"), *library.glob("experiments/*/rules.smk")]
    declared = [library / "config" / "experiment.py", *library.glob("experiments/*/__init__.py")]  # of measurements
    text = "".join(path.read_text() for path in (*rules, *declared))
    found = re.findall(r"envs/(\w+)\.yaml|\benv(?:: str = |=)\"(\w+)\"", text)
    names = sorted({name for pair in found for name in pair if name})
    if unknown := set(names) - set(groups):
        sys.exit(f"error: a rule names envs/{unknown.pop()}.yaml: add a group of that name to pyproject.toml")
    python = project["project"]["requires-python"].removeprefix(">=").partition(",")[0]
    made = {}
    for name in names:
        wanted = {normal(requirement) for requirement in expanded(groups, name)}
        if missing := wanted - {pin.name for pin in known}:
            sys.exit(f"error: requirements.txt has no {', '.join(sorted(missing))}: run make pins, with a network")
        needed = closure(wanted, known)
        made[name] = (
            f"# The group `{name}` of pyproject.toml in the versions of requirements.txt. Written by `make pins`.\n"
            "channels:\n  - conda-forge\n  - nodefaults\n"
            f"dependencies:\n  - python ={python}\n  - pip\n  - pip:\n"
            + "".join(f"      - {pin.line}\n" for pin in known if pin.name in needed)
        )
    return made


def expanded(groups: dict[str, list[Any]], name: str) -> list[str]:
    """Requirements of a group, with those of the groups it includes."""
    found: list[str] = []
    for item in groups[name]:
        found += expanded(groups, item["include-group"]) if isinstance(item, dict) else [item]
    return found


def pins() -> list[Pin]:
    """The lines of requirements.txt."""
    found = []
    for line in REQUIREMENTS.read_text().splitlines():
        if not line.startswith("#"):
            requirement, _, via = line.partition("# via ")
            asking = frozenset(word.split()[0] for word in via.split(", "))  # uv: myopia (pyproject.toml:train)
            found.append(Pin(normal(requirement), requirement.strip(), asking))
    return found


def closure(wanted: set[str], known: Iterable[Pin]) -> set[str]:
    """These packages and all that they need, directly or not."""
    while more := {pin.name for pin in known if pin.via & wanted} - wanted:
        wanted = wanted | more
    return wanted


def normal(requirement: str) -> str:
    """The name that a requirement starts with, as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
