import json
import os
import re
import subprocess
import sys

from snakemake.exceptions import WorkflowError

from myopia.common.errors import MyopiaError
from myopia.config.family import family, scratch_tuning_specs
from myopia.config.load import load_config
from myopia.config.runs import root, run_specs, tuning_specs

try:
    SETTINGS = load_config(config)
except MyopiaError as error:
    raise WorkflowError(str(error)) from None

RUNS = run_specs(SETTINGS)
TUNING = tuning_specs(SETTINGS) | scratch_tuning_specs(SETTINGS)
FAMILY = family(SETTINGS)
SEEDS = SETTINGS["seeds"]
SPLITS = ["train", "validation", "test"]

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
]


wildcard_constraints:
    run=r"[a-z0-9.e-]+",
    seed=r"\d+",
    corpus=r"[a-z0-9-]+",
    trained=r"[a-z0-9-]+",


def as_json(value):
    return json.dumps(value, sort_keys=True)


def synthetic_names():
    return [name for name, spec in RUNS.items() if spec["data"]["kind"] == "dp"]


def text_names():
    return [name for name, spec in RUNS.items() if spec["data"]["kind"] == "tokens"]


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


def spec_of(run):
    return next(specs[run] for specs in (RUNS, FAMILY.specs, TUNING) if run in specs)


def token_manifest(wildcards):
    """What a run reads besides its spec: nothing, or its encoded corpus."""
    data = spec_of(wildcards.run)["data"]
    if data["kind"] == "dp":
        return []
    return f"{SETTINGS['results']}/data/{data['corpus']}/tokens/tokens.manifest.json"


def teacher_weights(wildcards):
    """Models whose past a local arm reads: the vanilla run of every seed this job trains."""
    teacher = spec_of(wildcards.run).get("teacher")
    seeds = SEEDS if SETTINGS["share_process"] else [wildcards.seed]
    return run_files([teacher], "model.safetensors", seeds) if teacher else []


def initial_weights(wildcards):
    """The model a run starts from, where it starts from another run of its seed."""
    initial = spec_of(wildcards.run).get("init_from")
    return run_files([initial], "model.safetensors", [wildcards.seed]) if initial else []


def family_jobs():
    """(name, runs, seeds) of the jobs that train a family in shared processes: one size, judged or tuning seeds.

    Smoke trains all sizes in one job: starting torch takes longer than its runs.
    """
    part, tuning = SETTINGS["family"], FAMILY.tuning_runs()
    apart = [[size] for size in part["sizes"]]
    for group in apart if SETTINGS["judged"] or not apart else [part["sizes"]]:
        runs, word = FAMILY.runs_of(*group), re.sub(r"\W", "_", "_".join(group))
        yield f"train_family_{word}", runs, part["seeds"]
        if part["tuning_seeds"]:
            chosen_by = [run for run in runs if run in tuning]
            yield f"tune_family_{word}", chosen_by, part["tuning_seeds"]


def family_files(file, tuning=True):
    """That file of every run of the family, tuning seeds included."""
    part = SETTINGS["family"]
    files = run_files(FAMILY.specs, file, part["seeds"])
    return files + run_files(FAMILY.tuning_runs(), file, part["tuning_seeds"]) if tuning else files


def family_spec(run, seeds):
    """A run's spec; on tuning seeds it says that it is there to choose a learning rate."""
    tuning = set(seeds) <= set(SETTINGS["family"]["tuning_seeds"])
    return as_json({**FAMILY.specs[run], **({"purpose": "tuning"} if tuning else {})})


def train_arguments(wildcards):
    """Command-line arguments that place a run; none of them changes its result."""
    return place_arguments(wildcards.run)


def place_arguments(run):
    results, spec = SETTINGS["results"], spec_of(run)
    words = [
        f"--runs {results}/{root(spec)} --state {results}/.state --device {SETTINGS['device']}"
    ]
    if "teacher" in spec:
        words.append(f"--teacher {results}/{root(spec_of(spec['teacher']))}/{spec['teacher']}")
    if SETTINGS["compile"]:
        words.append("--compile")
    data = spec["data"]
    if data["kind"] == "tokens":
        folder = f"{SETTINGS['results']}/data/{data['corpus']}"
        words.append(f"--tokens {folder}/tokens --tokenizer {folder}/tokenizer")
    return " ".join(words)


def gpus_needed(wildcards):
    return 1 if SETTINGS["device"] == "cuda" else 0


def train_runtime(wildcards, attempt):
    """Minutes; a preempted or timed-out attempt resumes, so a longer next attempt only helps."""
    return 480 * attempt if SETTINGS["device"] == "cuda" else 120 * attempt


def synthetic_measure_spec(options):
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "data": {k: v for k, v in RUNS[name]["data"].items() if k != "kind"},
            "model": RUNS[name]["model"],
        }
        for name in synthetic_names()
        for seed in SEEDS
    ]
    return as_json({"runs": runs, **options})


def text_measure_spec():
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "corpus": RUNS[name]["data"]["corpus"],
            "folder": run_folder(name, seed),
            "teacher": run_folder(RUNS[name]["teacher"], seed) if "teacher" in RUNS[name] else None,
            "tokens": f"{SETTINGS['results']}/data/{RUNS[name]['data']['corpus']}/tokens",
        }
        for name in text_names()
        for seed in SEEDS
    ]
    text = SETTINGS["text"]
    further = [
        {**run, "corpus": name, "tokens": f"{SETTINGS['results']}/data/{run['corpus']}/on/{name}"}
        for run in runs
        for name in text["evaluate_on"][run["corpus"]]
    ]
    return as_json(
        {
            "runs": runs,
            "further": further,
            "max_windows": text["test_windows"],
            "influence_tokens": text["influence_tokens"],
        }
    )


def further_manifests():
    """Corpora that models are only measured on, each encoded with the tokenizer of the corpus they were trained on."""
    return [
        f"{SETTINGS['results']}/data/{trained}/on/{name}/tokens.manifest.json"
        for trained, names in SETTINGS["text"]["evaluate_on"].items()
        for name in names
    ]


def family_measure_spec():
    part, results = SETTINGS["family"], SETTINGS["results"]
    return as_json(
        {
            "corpus": part["corpus"],
            "tokens": f"{results}/data/{part['corpus']}/tokens",
            "runs": f"{results}/runs",
            "roles": FAMILY.roles(),
            "max_windows": part["test_windows"],
        }
    )


def _pretraining(part):
    if any("pretrained" in part["networks"][size] for size in part["sizes"]):
        return "released weights"
    return f"pretrained for {part['pretrain']['steps']} steps of {part['pretrain']['batch_size']}"


def caption(figure):
    """What a figure's caption must say about this scale: sizes, seeds and where they differ from the paper's."""
    scale, n = SETTINGS["scale"], len(SEEDS)
    if figure in ("fig7_gap_by_size", "audit_gap_by_lr"):
        part = SETTINGS["family"]
        return (
            f"Scale {scale}: {part['model_type']} on {part['corpus']}; {_pretraining(part)}, fine-tuned on"
            f" {part['finetune']['sequences']} sequences of {SETTINGS['text']['T']} tokens; from random"
            f" initialisation {part['scratch']['steps']} steps of {part['scratch']['batch_size']};"
            f" {len(part['seeds'])} seeds"
            " (paper: released Pythia weights, 10,000,000 sequences of the Pile, one run)."
        )
    if figure in ("influence", "fig4_position", "text_gap_by_step", "table2_text_loss"):
        text = SETTINGS["text"]
        model = ", ".join(f"{k} {v}" for k, v in sorted(text["model"]["config"].items()))
        return (
            f"Scale {scale}: {text['model']['model_type']} ({model}), {text['steps']} steps of"
            f" {text['batch_size']} x {text['T']} tokens, {n} seeds."
        )
    part = SETTINGS["synthetic"]
    task, model = part["task"], part["model"]
    return (
        f"Scale {scale}: a = {task['a']}, b = {task['b']}, T = {task['T']}, {model['n_layers']} layers,"
        f" d_model {model['d_model']}, {part['steps']} steps of {part['batch_size']} sequences, {n} seeds"
        " (paper: a = b = 10, T = 64, d_model 128, 58,594 steps of 512, one run)."
    )


def print_summary(results):
    """Verdicts and where things are, for a person. Results are complete by then: nothing here may fail a run."""
    verdicts = f"{results}/tables/verdicts.csv"
    if not os.path.exists(verdicts):
        return
    subprocess.run([sys.executable, "scripts/print_verdicts.py", "--verdicts", verdicts])
    sys.stdout.write(f"\nverdicts: {verdicts}\nfigures:  {results}/figures/\n")
    sys.stdout.flush()
