"""envs/setup.sh, which `make` runs: which Python it takes, which torch it asks for, and of whom. Nothing is installed."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.search(r"^torch==(\S+)", (ROOT / "requirements.txt").read_text(), re.M).group(1)

# Stands in for uv, and for the Python of a new environment: tells what it was called with, and has what $REFUSED lets it.
RECORDER = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
echo "${UV_FIND_LINKS:-}" > "$CALLS.links"
case "$1 $*" in
  "venv "*) for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
  *${REFUSED:-nothing}*) exit 1 ;;
esac
"""
# Stands in for a Python of any version, which makes environments of the program above.
PYTHON = """#!/bin/sh
case "$1" in
  -c) exec {python} -c "import sys; sys.version_info = ({version}, 0); $2" ;;
  -m) mkdir -p "$3/bin"; cp "{recorder}" "$3/bin/python"; touch "$3/bin/pip"; chmod +x "$3/bin/pip" ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """Run the script; returns its exit status, what it complained of and the lines of what it called."""

    def run(torch="", version="3, 11", uv=False, system="Linux", **env):
        programs, calls = tmp_path / "bin", tmp_path / "calls"
        recorder = programs / ("uv" if uv else "recorder")
        texts = {
            programs / "uv": "#!/bin/sh\nexit 127\n",
            recorder: RECORDER,
            programs / "python": PYTHON.format(python=sys.executable, version=version, recorder=recorder),
            programs / "uname": f"#!/bin/sh\necho {system}\n",
        }
        programs.mkdir()
        for path, text in texts.items():
            path.write_text(text)
            path.chmod(0o755)
        calls.touch()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "TORCH"))}
        done = subprocess.run(
            ["sh", "envs/setup.sh", str(programs / "python"), str(tmp_path / "venv")],
            cwd=ROOT, text=True, capture_output=True,
            env={**kept, **env, "TORCH": torch, "CALLS": str(calls), "PATH": f"{programs}:/usr/bin:/bin"},
        )  # fmt: skip
        return done.returncode, done.stderr, calls.read_text().splitlines()

    return run


def torch_calls(calls):
    return [call for call in calls if "torch=" in call]


BOUNDS = re.fullmatch(
    r">=3\.(\d+),<3\.(\d+)", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
)


@pytest.mark.parametrize("minor", range(int(BOUNDS[1]) - 1, int(BOUNDS[2]) + 1))
def test_it_takes_the_pythons_that_pyproject_allows(setup, minor):
    code, complaint, calls = setup(version=f"3, {minor}")
    if int(BOUNDS[1]) <= minor < int(BOUNDS[2]):
        assert code == 0 and calls
    else:
        assert code == 2 and not calls and complaint.startswith("error: ") and complaint.count("\n") == 1


@pytest.mark.parametrize("uv", [False, True])
def test_everything_is_installed_then_the_project_without_asking_for_more(setup, uv):
    code, _, calls = setup(uv=uv, PIP_ARGS="--proxy p")
    *_, everything, project = calls
    assert code == 0 and not torch_calls(calls)
    assert everything.endswith("--proxy p --requirement requirements.txt")
    assert project.endswith("--proxy p --no-deps --no-build-isolation --editable .")


@pytest.mark.parametrize("uv", [False, True])
def test_a_cpu_wheel_at_hand_is_taken_without_asking_the_index(setup, uv):
    code, _, calls = setup("cpu", uv=uv)
    (call,) = torch_calls(calls)
    assert code == 0 and call.endswith(f"--no-deps --no-index torch=={VERSION}+cpu")


@pytest.mark.parametrize("uv", [False, True])
def test_else_it_comes_from_pytorchs_index_and_nothing_else_does(setup, uv):
    code, _, calls = setup("cpu", uv=uv, REFUSED="--no-index")
    _, call = torch_calls(calls)
    assert code == 0 and call.endswith(f"/whl/cpu torch=={VERSION}+cpu")
    assert [each for each in calls if "/whl/" in each] == [call]


def test_cuda_is_pypis_build_whatever_is_at_hand(setup):
    (call,) = torch_calls(setup("cuda")[2])
    assert call.endswith(f"--no-deps torch==={VERSION}")


def test_elsewhere_than_on_linux_there_is_one_build(setup):
    assert not torch_calls(setup("cpu", system="Darwin")[2])


def test_a_build_that_nobody_has_is_one_sentence(setup):
    code, complaint, calls = setup("cpuu", REFUSED="torch=")
    assert code == 2 and complaint.startswith("error: TORCH=cpuu ") and complaint.count("\n") == 1
    assert not [call for call in calls if "requirements.txt" in call]


@pytest.mark.parametrize(("own", "expected"), [({}, "a,b"), ({"UV_FIND_LINKS": "c"}, "c")])
def test_uv_looks_where_pip_was_told_to_look(setup, tmp_path, own, expected):
    assert setup(uv=True, PIP_FIND_LINKS="a b", **own)[0] == 0
    assert (tmp_path / "calls.links").read_text().strip() == expected
