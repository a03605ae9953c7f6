# What the measuring rules are told, and what captions say about a scale.


def synthetic_measure_spec(names, options):
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "data": {k: v for k, v in RUNS[name]["data"].items() if k != "kind"},
            "model": RUNS[name]["model"],
        }
        for name in names
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


def zero_shot_pairs():
    """(run, seeds, model) of all that is scored; `model` is what the two arms share. Evaluation of a cut arm is vanilla
    evaluation, so these are plain models: the text pairs, and the family as the authors ran it (the paper's Fig 5).
    """
    pair = ("vanilla", "myopic")
    scored = [
        (name, SEEDS, RUNS[name]["data"]["corpus"])
        for name in text_names()
        if RUNS[name]["arm_name"] in pair
    ]
    for role in FAMILY.roles():
        as_run = (role["recipe"], role["start"]) == ("as_run", "checkpoint")
        if as_run and role["size"] in scored_sizes(SETTINGS):
            size = role["size"].removeprefix("pythia-")
            scored.append((role["run"], SETTINGS["family"]["seeds"], size))
    return scored


def zero_shot_weights():
    return [
        path
        for run, seeds, _ in zero_shot_pairs()
        for path in run_files([run], "model.safetensors", seeds)
    ]


def zero_shot_spec():
    """Each run on the cloze of its own corpus and on every other task."""
    runs = []
    for name, seeds, model in zero_shot_pairs():
        spec = spec_of(name)
        runs += [
            {
                "run": name,
                "arm": spec["arm_name"],
                "seed": seed,
                "model": model,
                "folder": run_folder(name, seed),
                "tasks": task_folders(spec["data"]["corpus"]),
            }
            for seed in seeds
        ]
    return as_json({"runs": runs})


def released_zero_shot_spec():
    """The released checkpoints on every task; a cloze is made of words, whatever cut the text into tokens."""
    runs = [
        {
            "run": name,
            "arm": spec["arm"],
            "seed": 0,
            "model": spec["size"],
            "folder": f"{SETTINGS['results']}/released/runs/{name}",
            "tasks": task_folders(),
        }
        for name, spec in RELEASED.items()
    ]
    return as_json({"runs": runs})


def task_folders(corpus=None):
    """Folders of the tasks a model trained on `corpus` is scored on; all of them without one."""
    tasks, folder = SETTINGS["zero_shot"]["tasks"], f"{SETTINGS['results']}/data/tasks"
    return [
        f"{folder}/{name}"
        for name, task in tasks.items()
        if corpus is None or task["source"].get("corpus", corpus) == corpus
    ]


def task_files():
    return [
        f"{folder}/{file}"
        for folder in task_folders()
        for file in ("items.jsonl", "task.yaml", "task.json")
    ]


def task_corpus(wildcards):
    """The encoded corpus a cloze is made from; no other task is made from anything here."""
    corpus = SETTINGS["zero_shot"]["tasks"][wildcards.task]["source"].get("corpus")
    return (
        [] if corpus is None else f"{SETTINGS['results']}/data/{corpus}/tokens/tokens.manifest.json"
    )


def task_arguments(wildcards):
    corpus = SETTINGS["zero_shot"]["tasks"][wildcards.task]["source"].get("corpus")
    return "" if corpus is None else f"--corpus {SETTINGS['results']}/data/{corpus}"


def family_measures(wildcards):
    if not FAMILY.specs:
        raise WorkflowError(
            "config key family.sizes: this scale has no networks; name some under family.networks"
            " (docs/tutorial.md, section 5)"
        )
    return [f"{SETTINGS['results']}/measure/{file}" for file in FAMILY_MEASURES]
