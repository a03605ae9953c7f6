"""Ways in: configs that must not get in, make, a cluster, conda."""

import shutil
import sys
from pathlib import Path

import pytest

from harness import ROOT, contents, differing, plan, planned, run, snakemake

# --- bad configs ---


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--config", "scael=smoke"), "config: unknown key 'scael' at the top level (did you mean 'scale'?)"),
        (("--configfile", "own.yaml"), "config key synthetic.p"),
    ],
)
def test_a_bad_config_is_refused_in_one_line_before_any_job(fresh, words, sentence):
    (fresh / "own.yaml").write_text("scale: smoke\nsynthetic: {p: [1.5]}\n")
    done = run(fresh, "snakemake", "--cores", 2, *words, rc=1)
    assert "Traceback" not in done.output and "Job stats" not in done.output
    assert not any((fresh / "results").iterdir())
    (line,) = [line for line in done.output.splitlines() if line.startswith("config")]
    assert line.startswith(sentence)


# --- make ---


def test_make_dag_draws_the_workflow(fresh):
    """Through the Makefile, as if its requirements were installed: by the environment the tests run in."""
    (fresh / "stamp").touch()
    done = run(fresh, "make", f"VENV={Path(sys.prefix)}", f"STAMP={fresh}/stamp", "SCALE=smoke", "dag")
    assert "results/dag.mmd" in done.output
    picture = (fresh / "results/dag.mmd").read_text()
    assert picture.startswith("---") and "flowchart" in picture and "[judge_text]" in picture
    for path in (fresh / "results").iterdir():
        path.unlink()


# --- clusters ---

SUBMIT = """#!/bin/sh
# Stands in for sbatch: takes the job script, prints an id, lets it run.
id=$(basename "$1")
(sh "$1" > "queue/$id.out" 2>&1 && echo success > "queue/$id" || echo failed > "queue/$id") &
echo "$id"
"""
STATUS = """#!/bin/sh
cat "queue/$1" 2> /dev/null || echo running
"""


def test_jobs_run_on_a_cluster(sandbox):
    """Each job is a Snakemake of its own there, so everything it needs must reach it by the command line."""
    before = contents(sandbox)
    (sandbox / "queue").mkdir()
    for name, text in (("submit", SUBMIT), ("status", STATUS)):
        (sandbox / name).write_text(text)
        (sandbox / name).chmod(0o755)
    corpus = sandbox / "results/smoke/data/docstrings"
    shutil.rmtree(corpus / "tokenizer")
    shutil.rmtree(corpus / "tokens")
    words = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "./submit",
             "--cluster-generic-status-cmd", "./status", "--jobs", 2, "--seconds-between-status-checks", 1,
             "--latency-wait", 5)  # fmt: skip
    done = snakemake(sandbox, *words, "--", "results/smoke/data/docstrings/tokens/tokens.manifest.json")
    assert planned(done.output) == {"train_tokenizer": 1, "encode_corpus": 1}
    assert len(list((sandbox / "queue").glob("*.out"))) == 2
    assert not differing(before, contents(sandbox))


# --- conda ---

CONDA = """#!/bin/sh
# Stands in for conda: what Snakemake asks of it, with environments whose python is ours and tells where it was called.
here=$(cd "$(dirname "$0")/.." && pwd)
case "$*" in
  --version) echo "conda 24.7.1" ;;
  "info --json") echo "{\\"conda_prefix\\": \\"$here\\", \\"platform\\": \\"linux-64\\", \\"envs_dirs\\": []}" ;;
  "config --get"*) echo '{"get": {"channel_priority": "strict"}}' ;;
  clean*) ;;
  "env create"*)
    while [ $# -gt 0 ]; do
      case "$1" in --file) file=$2 ;; --prefix) prefix=$2 ;; esac
      shift
    done
    mkdir -p "$prefix/bin"
    cp "$file" "$prefix/environment.yaml"
    printf '#!/bin/sh\\necho "%s $3" >> "%s/calls"\\nexec "%s" "$@"\\n' "$prefix" "$here" "$PYTHON" > "$prefix/bin/python"
    chmod +x "$prefix/bin/python" ;;
  *) echo "unexpected: conda $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def conda(tmp_path):
    """The environment variables that put the stand-in first; `tmp_path/conda/calls` lists python calls."""
    for name, text in (("conda", CONDA), ("activate", 'PATH="$1/bin:$PATH"\n')):
        path = tmp_path / "conda/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    # Activation prepends to the PATH of the job, where nothing of ours may come first.
    return {"PATH": f"{tmp_path}/conda/bin:{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHON": sys.executable}


def test_what_was_deleted_is_made_again_each_rule_in_its_own_environment(sandbox, conda, tmp_path):
    """The wiring alone. Whether the pins can be installed together only conda itself can say.

    And what a rerun makes: what was deleted and what reads it, with the same bytes.
    """
    before = contents(sandbox)
    (sandbox / "results/smoke/tables/seeds.csv").unlink()
    (sandbox / "results/smoke/figures/induction.svg").unlink()
    done = snakemake(sandbox, "--workflow-profile", "workflow/profiles/conda", env=conda)
    assert planned(done.output) == {"tabulate_seeds": 1, "draw_induction": 1, "write_report": 1}
    used = {}
    for line in (tmp_path / "conda/calls").read_text().splitlines():
        prefix, command = line.split()
        used[command] = (Path(prefix) / "environment.yaml").read_text()
    assert used == {
        "seeds": (ROOT / "envs/report.yaml").read_text(),
        "draw": (ROOT / "envs/draw.yaml").read_text(),
        "report": (ROOT / "envs/report.yaml").read_text(),
    }
    assert not differing(before, contents(sandbox))
    assert plan(sandbox) == {}  # and without conda again: nothing is done anew
