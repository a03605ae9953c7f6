# What the measuring rules are told, and what captions say about a scale.


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


def twin_names():
    arms = {"vanilla", "myopic"}
    if not arms <= set(SETTINGS["text"]["arms"]):
        return []
    return [name for name in text_names() if RUNS[name]["arm_name"] in arms]


def token_measure_spec():
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "corpus": RUNS[name]["data"]["corpus"],
            "folder": run_folder(name, seed),
            "tokens": f"{SETTINGS['results']}/data/{RUNS[name]['data']['corpus']}/tokens",
        }
        for name in twin_names()
        for seed in SEEDS
    ]
    return as_json({"runs": runs, "tokens": SETTINGS["tokens"]})


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


def released_files(file):
    """A file of every released checkpoint's converted folder, which is a plain Hugging Face model."""
    return [f"{SETTINGS['results']}/released/runs/{run}/{file}" for run in RELEASED]


def released_folders():
    """Where any evaluation finds the released models; its rule needs `released_files("checkpoint.json")`."""
    return [os.path.dirname(path) for path in released_files("checkpoint.json")]


def released_measure_spec(wildcards):
    place = f"{SETTINGS['results']}/released"
    runs = [
        {
            "run": wildcards.run,
            "arm": RELEASED[wildcards.run]["arm"],
            "seed": 0,
            "corpus": corpus,
            "folder": f"{place}/runs/{wildcards.run}",
            "tokens": f"{place}/tokens/{corpus}",
        }
        for corpus in SETTINGS["corpora"]
    ]
    return as_json({"runs": runs, "max_windows": SETTINGS["released"]["test_windows"]})


def zero_shot_names():
    """Runs that are scored: the pairs of the paper. Evaluation of a cut arm is vanilla evaluation."""
    return [name for name in text_names() if RUNS[name]["arm_name"] in ("vanilla", "myopic")]


def zero_shot_spec():
    """Each run on the cloze of its own corpus and on every other task."""
    tasks, folder = SETTINGS["zero_shot"]["tasks"], f"{SETTINGS['results']}/data/tasks"
    runs = []
    for name in zero_shot_names():
        corpus = RUNS[name]["data"]["corpus"]
        own = [t for t, task in tasks.items() if task["source"].get("corpus", corpus) == corpus]
        runs += [
            {
                "run": name,
                "arm": RUNS[name]["arm_name"],
                "seed": seed,
                "model": corpus,
                "folder": run_folder(name, seed),
                "tasks": [f"{folder}/{task}" for task in own],
            }
            for seed in SEEDS
        ]
    return as_json({"runs": runs})


def task_corpus(wildcards):
    """The encoded corpus a cloze is made from; no other task is made from anything here."""
    corpus = SETTINGS["zero_shot"]["tasks"][wildcards.task]["source"].get("corpus")
    return (
        [] if corpus is None else f"{SETTINGS['results']}/data/{corpus}/tokens/tokens.manifest.json"
    )


def task_arguments(wildcards):
    corpus = SETTINGS["zero_shot"]["tasks"][wildcards.task]["source"].get("corpus")
    return "" if corpus is None else f"--corpus {SETTINGS['results']}/data/{corpus}"


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
    if figure in RELEASED_FIGURES:
        part = SETTINGS["released"]
        return f"Scale {scale}: at most {part['test_windows']} test windows of {part['T']} tokens per corpus."
    if figure in (
        "influence",
        "fig4_position",
        "text_gap_by_step",
        "table2_text_loss",
        "token_gap",
        "future_probes",
        "fig5_zero_shot",
    ):
        text = SETTINGS["text"]
        model = ", ".join(f"{k} {v}" for k, v in sorted(text["model"]["config"].items()))
        return (
            f"Scale {scale}: {text['model']['model_type']} ({model}), {text['steps']} steps of"
            f" {text['batch_size']} x {text['T']} tokens, {n} seeds."
        )
    if figure in ("fig9_multiplication", "fig10_filler", "multiplication_digits"):
        part = SETTINGS["multiplication"]
        model = ", ".join(
            f"{k} {v}" for k, v in sorted(part["model"].items()) if k.startswith("n_")
        )
        return (
            f"Scale {scale}: GPT-2's shape ({model}), {part['examples']:,} training problems, {n} seeds"
            " (paper: GPT-2 small, 10,000,000 problems, one run)."
        )
    part = SETTINGS["synthetic"]
    task, model = part["task"], part["model"]
    return (
        f"Scale {scale}: a = {task['a']}, b = {task['b']}, T = {task['T']}, {model['n_layers']} layers,"
        f" d_model {model['d_model']}, {part['steps']} steps of {part['batch_size']} sequences, {n} seeds"
        " (paper: a = b = 10, T = 64, d_model 128, 58,594 steps of 512, one run)."
    )
