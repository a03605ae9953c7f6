import json
import os
import re
import subprocess
import sys

import yaml

from snakemake.exceptions import WorkflowError

from myopia.common.errors import MyopiaError
from myopia.common.files import sha256_file
from myopia.experiments.size_sweep.settings import family, fetched_networks, frozen_rate_specs
from myopia.config.corpora import from_hub
from myopia.config.figures import FIGURES_OF
from myopia.config.load import load_config
from myopia.experiments.multiplication.settings import roles_of
from myopia.config.plan import run_shape
from myopia.experiments.released.settings import released_specs
from myopia.experiments.toys.settings import toy_tuning_seeds
from myopia.experiments.zero_shot.settings import scored_sizes
from myopia.config.runs import ARMS, DOSES, root, run_specs, tuning_specs

try:
    SETTINGS = load_config(config)
except MyopiaError as error:
    raise WorkflowError(str(error)) from None

RUNS = run_specs(SETTINGS)
TUNING = tuning_specs(SETTINGS) | frozen_rate_specs(SETTINGS)
FAMILY = family(SETTINGS)
NETWORKS = fetched_networks(SETTINGS)
RELEASED = released_specs(SETTINGS)
SEEDS = SETTINGS["seeds"]
SPLITS = ["train", "validation", "test"]
HUB_LOCK = "workflow/reference/hub.lock.json"
HUB_TEXTS = [
    name for name, corpus in SETTINGS["corpora"].items() if corpus["source"]["kind"] == "hub"
]
HUB_TOKENIZERS = [
    name for name, corpus in SETTINGS["corpora"].items() if from_hub(corpus["tokenizer"])
]

# Meaning of each kind of work: bump a number when a change in its code alters results, and only then. The default
# profile ignores code changes, so that an edited comment retrains nothing.
RECIPE = {"data": 1, "train": 1, "measure": 1}

FIGURES = [
    "table1_loss_by_p",
    "fig2_probe_r2",
    "fig3_neuron_correlation",
    "fig6_probe_estimate",
    "intervention",
    "influence",
    "fig4_position",
    "text_gap_by_step",
    "table2_text_loss",
    "fig7_gap_by_size",
    "audit_gap_by_lr",
    "token_gap",
    "future_probes",
    "fig5_zero_shot",
    "toy_capacity",
    "toy_hidden_bits",
    "three_myopias",
    "fig9_multiplication",
    "fig10_filler",
    "multiplication_digits",
    "fig11_gradient_anatomy",
    "forward_bias",
    "theory",
    "dose_response",
    "induction",
]
TOKEN_MEASURES = [
    "token_gap.csv.gz",
    "top_tokens.csv",
    "planning_map.csv",
    "influence_sent.csv.gz",
    "future_probes.csv.gz",
]
FAMILY_MEASURES = ["family_runs.csv", "family_loss.csv.gz", "family_curve.csv"]
RELEASED_FIGURES = ["fig7_released", "released_position", "fig5_released"]
TOY_FIGURES = ["toy_capacity", "toy_hidden_bits", "three_myopias"]
TOY_MEASURES = [
    "toy_shared.csv",
    "toy_optimum.csv",
    "toy_hidden.csv",
    "toy_consequence.csv.gz",
]
ANATOMY_MEASURES = [
    "gradient_anatomy.csv.gz",
    "forward_bias.csv.gz",
    "forward_bias_points.csv",
    "theory.csv.gz",
]

LISTS = ["top_tokens", "planning_map", "text_by_component"]  # tables that are read, not drawn


wildcard_constraints:
    run=r"[a-z0-9.e-]+",
    seed=r"\d+",
    corpus=r"[a-z0-9-]+",
    trained=r"[a-z0-9-]+",
    task=r"[a-z0-9_-]+",


MAX_WORD = 120_000  # bytes: Linux takes 128 KiB in one word, and to a shell a whole command is one


def as_json(value):
    """Canonical text, part of a command; one that could not be started is refused before anything is."""
    text = json.dumps(value, sort_keys=True)
    if len(text) > MAX_WORD:
        raise WorkflowError(
            f"config: this scale needs a command of {len(text)} bytes, and a command may have {MAX_WORD}:"
            " lower the number of seeds or of arms"
        )
    return text


def synthetic_names():
    return [
        name
        for name, spec in RUNS.items()
        if spec["data"]["kind"] == "dp" and name.startswith("dp-")
    ]


def made_names():
    """Runs on made data, which read no file."""
    return [name for name, spec in RUNS.items() if "corpus" not in spec["data"]]


def probed_names():
    """Doses of the gradient have losses, no probes of their own."""
    return [name for name in synthetic_names() if RUNS[name]["arm_name"] not in DOSES]


def text_names():
    return [name for name, spec in RUNS.items() if spec["data"]["kind"] == "tokens"]


def induction_names():
    return [name for name, spec in RUNS.items() if spec["data"]["kind"] == "induction"]


def arm_names():
    return [name for name in text_names() if root(RUNS[name]) == "arms"]


def plain_text_names():
    return [name for name in text_names() if root(RUNS[name]) == "runs"]


def run_files(names, file, seeds=SEEDS):
    return [f"{run_folder(n, s)}/{file}" for n in names for s in seeds]


def run_folder(name, seed):
    return f"{SETTINGS['results']}/{root(spec_of(name))}/{name}/seed{seed}"


def run_folders(names, seeds=SEEDS):
    return [os.path.dirname(path) for path in run_files(names, "metrics.json", seeds)]


def run_outputs(file, seeds, place="runs"):
    """Declared outputs of a training job: one file for each seed it trains."""
    path = f"<results>/{place}/{{run}}/seed{{seed}}/{file}"
    if not SETTINGS["share_process"]:
        return path
    return [path.replace("{seed}", str(seed)) for seed in seeds]


def run_log(rule):
    seed = "" if SETTINGS["share_process"] else "-seed{seed}"
    return f"<logs>/{rule}/{{run}}{seed}.log"


def run_benchmark(rule):
    seed = "" if SETTINGS["share_process"] else "-seed{seed}"
    return f"<benchmarks>/{rule}/{{run}}{seed}.tsv"


def one_of(names):
    """A wildcard constraint; no names match nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def hub_files(corpora, file):
    return [f"{SETTINGS['results']}/data/{corpus}/{file}" for corpus in corpora]


def spec_of(run):
    return next(specs[run] for specs in (RUNS, FAMILY.specs, TUNING) if run in specs)


def token_manifest(wildcards):
    """What a run reads besides its spec: nothing, or its encoded corpus."""
    data = spec_of(wildcards.run)["data"]
    if "corpus" not in data:
        return []
    return f"{SETTINGS['results']}/data/{data['corpus']}/tokens/tokens.manifest.json"


def teacher_weights(wildcards):
    """Models whose past a local arm reads: the vanilla run of every seed this job trains."""
    teacher = spec_of(wildcards.run).get("teacher")
    seeds = SEEDS if SETTINGS["share_process"] else [wildcards.seed]
    return run_files([teacher], "model.safetensors", seeds) if teacher else []


def initial_weights(wildcards):
    """The model a run starts from: another run of its seed, or one that was fetched."""
    initial = spec_of(wildcards.run).get("init_from")
    seeds = SETTINGS["tuning_seeds"] if SETTINGS["share_process"] else [wildcards.seed]
    if initial:
        return run_files([initial], "model.safetensors", seeds)
    return fetched_weights([wildcards.run])


def fetched_weights(runs):
    """What says that the released weights these runs start from are here."""
    sources = [spec_of(run)["model"].get("pretrained") or {} for run in runs]
    networks = {source["network"] for source in sources if "network" in source}
    return [f"{SETTINGS['results']}/networks/{name}/revision.json" for name in sorted(networks)]


def bundles():
    """(job, runs, seeds) of the training jobs that each train several runs in one process, in this order.

    The family: a job trains a size, each run after the one it starts from; at smoke, all sizes. Of other runs, those that
    take less time than starting torch share a job with all that are placed alike.
    """
    part, tuning = SETTINGS["family"], FAMILY.tuning_runs()
    apart = [[size] for size in part["sizes"]]
    for group in apart if SETTINGS["judged"] or not apart else [part["sizes"]]:
        runs, word = FAMILY.runs_of(*group), re.sub(r"\W", "_", "_".join(group))
        yield f"train_family_{word}", runs, part["seeds"]
        chosen_by = [run for run in runs if run in tuning]
        if chosen_by and part["tuning_seeds"]:
            yield f"tune_family_{word}", chosen_by, part["tuning_seeds"]
    alike = {}
    for run, spec in RUNS.items():
        if spec["steps"] * spec["batch_size"] * spec["data"]["T"] <= 100_000:  # tokens
            alike.setdefault((root(spec), spec["data"].get("corpus", "made")), []).append(run)
    for (place, data), runs in alike.items():
        yield f"train_{re.sub(r'[^a-z0-9]', '_', data)}_{place}", runs, SEEDS


BUNDLES = list(bundles()) if SETTINGS["share_process"] else []


def unbundled(names):
    bundled = {run for _, runs, _ in BUNDLES for run in runs}
    return [name for name in names if name not in bundled]


def bundle_inputs(runs):
    """What the runs of a bundle read: the corpus they share, and the models of other jobs that teach them."""
    specs = [spec_of(run) for run in runs]
    corpora = {spec["data"]["corpus"] for spec in specs if "corpus" in spec["data"]}
    teachers = {spec["teacher"] for spec in specs if "teacher" in spec}
    manifests = [
        f"{SETTINGS['results']}/data/{corpus}/tokens/tokens.manifest.json" for corpus in corpora
    ]
    return manifests + run_files(sorted(teachers), "model.safetensors") + fetched_weights(runs)


def family_files(file, tuning=True):
    """That file of every run of the family, tuning seeds included."""
    part = SETTINGS["family"]
    files = run_files(FAMILY.specs, file, part["seeds"])
    return files + run_files(FAMILY.tuning_runs(), file, part["tuning_seeds"]) if tuning else files


def bundled_spec(run, seeds):
    """A run's spec; on tuning seeds it says that it is there to choose a learning rate."""
    tuning = set(seeds) <= set(SETTINGS["family"]["tuning_seeds"])
    return as_json({**spec_of(run), **({"purpose": "tuning"} if tuning else {})})


def train_arguments(wildcards):
    """Command-line arguments that place a run; none of them changes its result."""
    return place_arguments(wildcards.run)


def place_arguments(run):
    results, spec = SETTINGS["results"], spec_of(run)
    words = [
        f"--runs {results}/{root(spec)} --state {results}/.state --device {SETTINGS['device']}"
        f" --teachers {results}/runs"
    ]
    if NETWORKS:
        words.append(f"--networks {results}/networks")
    if SETTINGS["devices"] > 1:
        words.append(f"--devices {SETTINGS['devices']} --sharding {SETTINGS['sharding']}")
    if SETTINGS["compile"]:
        words.append("--compile")
    data = spec["data"]
    if data["kind"] == "tokens":
        folder = f"{SETTINGS['results']}/data/{data['corpus']}"
        words.append(f"--tokens {folder}/tokens --tokenizer {folder}/tokenizer")
    return " ".join(words)


def gpus_needed(wildcards):
    return 1 if SETTINGS["device"] == "cuda" else 0


def train_gpus(wildcards):
    return SETTINGS["devices"] if SETTINGS["device"] == "cuda" else 0


TRAIN_THREADS = SETTINGS["devices"]  # processes that train together have a core each


def grown(amount, attempt):
    """What a later attempt is given: one that was stopped for time or memory needs more, but no queue is endless."""
    return amount * min(attempt, 3)


def train_memory(runs):
    """Host memory of a training job, MB: of every process its libraries, and a state as it is read."""
    shapes = [run_shape(SETTINGS, spec_of(run)) for run in runs]
    largest = max((shape.parameters for shape in shapes if shape is not None), default=0)
    return SETTINGS["devices"] * (3000 + 16 * largest // 10**6)


def bundle_memory(runs):
    return lambda wildcards, attempt: grown(train_memory(runs), attempt)


def measure_memory(wildcards, attempt):
    """Host memory of a measuring job, MB: it opens one trained network after another."""
    return grown(train_memory([*RUNS, *FAMILY.specs]) // SETTINGS["devices"], attempt)


def measure_runtime(wildcards, attempt):
    return grown(480, attempt)


def train_runtime(wildcards, attempt):
    """Minutes; a preempted or timed-out attempt resumes, so a longer next attempt only helps."""
    return grown(480 if SETTINGS["device"] == "cuda" else 120, attempt)


# On Slurm a training job is told five minutes before its time is up: a large state takes longer to write than the
# half minute that usually lies between being told to end and being killed. It then ends with exit code 75.
WARNED = "--signal=TERM@300"


def print_summary(results):
    """Verdicts and where things are, for a person. Results are complete by then: nothing here may fail a run."""
    audit = f"{results}/released/tables/released_audit.csv"
    if os.path.exists(audit):
        sys.stdout.write(f"\nreleased checkpoints: {audit}\n")
    verdicts = f"{results}/tables/verdicts.csv"
    if not os.path.exists(verdicts):
        return
    subprocess.run([sys.executable, "scripts/print_verdicts.py", "--verdicts", verdicts])
    sys.stdout.write(f"\nverdicts: {verdicts}\nfigures:  {results}/figures/\n")
    if os.path.exists(f"{results}/report.html"):
        sys.stdout.write(f"report:   {results}/report.html\n")
        Path(f"{results}/{INCOMPLETE}").unlink(missing_ok=True)
    sys.stdout.flush()


def released_so_far(wildcards):
    """Tables of the target `released` that are there, by content: the report shows them, but never asks for them."""
    tables = sorted(Path(SETTINGS["results"], "released", "tables").glob("*.csv"))
    return [f"{path.name} {sha256_file(path)[:16]}" for path in tables]


INCOMPLETE = "report-incomplete.html"


def report_what_there_is(results, captions):
    """After a failure: the report of what has finished, under a name that nobody takes for the whole.

    An earlier report goes: Snakemake would take it for up to date although the tables it was made from are gone.
    """
    path = f"{results}/{INCOMPLETE}"
    Path(f"{results}/report.html").unlink(missing_ok=True)
    command = [
        "python",
        "scripts/write_report.py",
        "--results",
        results,
        "--out",
        path,
    ]  # the rules' python
    command += ["--reference", "workflow/reference", "--texts", "workflow/report"]
    command += ["--scale", SETTINGS["scale"], "--captions", as_json(captions), "--stopped"]
    if os.path.isdir(results) and subprocess.run(command).returncode == 0:
        sys.stdout.write(f"\nwhat has finished so far, and what did not: {path}\n")
        sys.stdout.flush()
