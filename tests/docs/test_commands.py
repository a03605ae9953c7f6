"""Shell commands that the pages show exist: make's targets, myopia's commands and options, Snakemake's targets."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from myopia.cli import build
from myopia.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()


def commands(page):
    """Lines of the page's shell blocks, without comments."""
    for block in re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def of(program):
    """Commands of a program on any page, each once, variables in front of it left out."""
    found = {}
    for page in PAGES:
        for words in commands(page):
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words[:1] == [program]:
                found.setdefault(shlex.join(words), page)
    return sorted(found)


SHOWN = sorted({shlex.join(words) for words in commands("README.md") if words[0] == "snakemake"})


def test_make_has_every_target():
    named = {word for line in of("make") for word in shlex.split(line)[1:] if "=" not in word}
    assert "smoke" in named
    for target in named:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), target


def test_myopia_has_every_command_and_option():
    lines = of("myopia")
    verbs = {shlex.split(line)[1] for line in lines}
    assert {"gap", "verify", "influence", "plan", "watch"} <= verbs
    for verb in verbs:
        done = CliRunner().invoke(build(), [verb, "--help"])
        assert done.exit_code == 0, f"{verb}: {done.output}"
        options = {
            word for line in lines if shlex.split(line)[1] == verb for word in shlex.split(line) if word[:2] == "--"
        }
        assert options - {"--help"} <= set(re.findall(r"--[\w-]+", done.stdout)), verb


@pytest.mark.slow
@pytest.mark.parametrize("line", SHOWN)
def test_snakemake_accepts_what_readme_shows(line, tmp_path):
    words = [sys.executable, "-m", *shlex.split(line), "-n", "--quiet", "all"]
    config = words.index("--config") + 1
    words.insert(config, f"results={tmp_path}")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_that_pages_show_are_accepted(tmp_path):
    shown = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL | re.MULTILINE)
    assert shown
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    for text in shown:
        load_config(base | yaml.safe_load(text))
    for corpus in ("msmarco", "pg19"):
        (tmp_path / corpus).mkdir()
    for path in ROOT.glob("docs/results/*/overrides.yaml"):
        load_config(base | {"scale": "cpu", "data_root": str(tmp_path)} | yaml.safe_load(path.read_text()))


def test_readme_shows_few_commands_of_snakemake():
    """Each is planned by the test above, which takes seconds."""
    assert 0 < len(SHOWN) <= 3
