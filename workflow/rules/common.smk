# What all rules share: the resolved settings, the jobs and files of the scale (config/dag.py), and what a person sees.
import shlex
import subprocess

from snakemake.exceptions import WorkflowError

from myopia.common.errors import MyopiaError
from myopia.config.dag import SPLITS, Dag, regex_any, scale_by_attempt
from myopia.config.runs import CODE_VERSION
from myopia.config.load import digest, load_config, write_settings
from myopia.common.process import import_from

# Jobs find the package in whatever environment they run; from conda's Snakemake itself takes PYTHONPATH away.
import_from(SCRIPTS)
shell.prefix(f"export PYTHONPATH={shlex.quote(SCRIPTS)}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; ")

try:
    SETTINGS = load_config(config)
    dag = Dag(SETTINGS)
except MyopiaError as error:
    raise WorkflowError(str(error)) from None

HUB_LOCK = "workflow/reference/hub.lock.json"
REFERENCE = ["workflow/reference/claims.yaml", "workflow/reference/paper_values.csv"]
INCOMPLETE = f"{SETTINGS['results']}/report-incomplete.html"


wildcard_constraints:
    run=r"[a-z0-9.e-]+",
    seed=r"\d+",
    corpus=r"[a-z0-9-]+",
    trained=r"[a-z0-9-]+",
    task=r"[a-z0-9_-]+",
    unit=r"[A-Za-z0-9._-]+",


def train_gpus(wildcards):
    return SETTINGS["devices"] if SETTINGS["device"] == "cuda" else 0


def train_runtime(wildcards, attempt):
    """Minutes; a preempted or timed-out attempt resumes, so a longer next attempt only helps."""
    return scale_by_attempt(480 if SETTINGS["device"] == "cuda" else 120, attempt)


def measure_runtime(wildcards, attempt):
    return scale_by_attempt(480, attempt)


def measure_gpus(wildcards):
    return 1 if SETTINGS["device"] == "cuda" else 0


def myopia(*words):
    """A command of the package, in the Python that runs Snakemake."""
    done = subprocess.run([sys.executable, "-m", "myopia", *words], check=False)
    return done.returncode == 0


def tell_settings():
    """To `myopia run`, which waits for it: where the settings of this run lie."""
    if told := os.environ.get("MYOPIA_TELL_SETTINGS"):
        Path(told).write_text(f"{dag.settings_file}\n")


def print_summary():
    """What the run comes to, for a person, where its report was asked for. Nothing here may fail a run."""
    if any(job.rule.name == "write_report" for job in workflow.dag.jobs):
        Path(INCOMPLETE).unlink(missing_ok=True)
        myopia("summary", "--settings", dag.settings_file)


def report_what_there_is():
    """After a failure: the report of what has finished, under a name that nobody takes for the whole.

    An earlier report goes: Snakemake would take it for up to date although the tables it was made from are gone.
    """
    Path(f"{SETTINGS['results']}/report.html").unlink(missing_ok=True)
    words = ("report", "--settings", dag.settings_file, "--out", INCOMPLETE, "--stopped")
    if os.path.isfile(dag.settings_file) and myopia(*words):
        sys.stdout.write(f"\nwhat has finished so far, and what did not: {INCOMPLETE}\n")
        sys.stdout.flush()
