# What the rules of the small worlds are told.


def multiplication_names():
    return [name for name, spec in RUNS.items() if spec["data"]["kind"] == "multiplication"]


def multiplication_spec():
    part = SETTINGS["multiplication"]
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "roles": roles_of(part, name),
            "data": RUNS[name]["data"],
            "examples": RUNS[name]["steps"] * RUNS[name]["batch_size"],
        }
        for name in multiplication_names()
        for seed in SEEDS
    ]
    return as_json({"runs": runs, "problems": part["test_problems"]})


def bias_names():
    """Networks small enough to write their Hessians out."""
    return [name for name in RUNS if name.startswith("bias-")]


def followed_names():
    """Language runs that keep their weights along training."""
    return [name for name in text_names() if "snapshots" in RUNS[name]]


def anatomy_series(name, seed):
    """A run's checkpoints: snapshots on the way (undeclared, like a run's state), and the finished run."""
    spec, folder = RUNS[name], run_folder(name, seed)
    on_the_way = {
        step: f"{folder}/snapshots/step{step}" for step in spec["snapshots"] if step < spec["steps"]
    }
    return {
        "run": name,
        "arm": spec["arm_name"],
        "seed": seed,
        "corpus": spec["data"]["corpus"],
        "folder": folder,
        "tokens": f"{SETTINGS['results']}/data/{spec['data']['corpus']}/tokens",
        "checkpoints": on_the_way | {spec["steps"]: folder},
        "eps": spec["optim"]["eps"],
        "batch_size": spec["batch_size"],
    }


def revision_name():
    return SETTINGS["anatomy"]["revisions"]["repo"].rsplit("/", 1)[-1]


def revision_folders():
    place = f"{SETTINGS['results']}/revisions/{revision_name()}"
    return {step: f"{place}/step{step}" for step in SETTINGS["anatomy"]["revisions"]["steps"]}


def revision_series():
    """Public checkpoints; AdamW's eps is that of the Pythia suite, second moments are of our batches."""
    part, folders = SETTINGS["anatomy"]["revisions"], revision_folders()
    if not folders:
        return []
    return [
        {
            "run": revision_name(),
            "arm": "public",
            "seed": 0,
            "corpus": part["corpus"],
            "folder": folders[max(folders)],
            "tokens": f"{SETTINGS['results']}/data/{part['corpus']}/tokens",
            "checkpoints": folders,
            "eps": 1.0e-8,
            "batch_size": SETTINGS["anatomy"]["block_windows"],
        }
    ]


def bias_runs():
    small = [
        {
            "task": "bias-dp",
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "data": {k: v for k, v in RUNS[name]["data"].items() if k != "kind"},
        }
        for name in bias_names()
        for seed in SEEDS
    ]
    large = [
        {
            "task": RUNS[name]["data"]["corpus"],
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "tokens": f"{SETTINGS['results']}/data/{RUNS[name]['data']['corpus']}/tokens",
        }
        for name in followed_names()
        for seed in SEEDS[: SETTINGS["anatomy"]["lanczos"]["seeds"]]
    ]
    return small + large


def anatomy_spec():
    series = [anatomy_series(name, seed) for name in followed_names() for seed in SEEDS]
    return as_json(
        {
            "series": series + revision_series(),
            "bias": bias_runs(),
            "anatomy": SETTINGS["anatomy"],
        }
    )


def revision_inputs():
    """Fetched checkpoints, and the corpus that public checkpoints are measured on."""
    folders = revision_folders().values()
    tokens = [f"{run['tokens']}/tokens.manifest.json" for run in revision_series()]
    return [f"{folder}/revision.json" for folder in folders] + tokens


def induction_measure_spec():
    """Runs in their folders, and how many test sequences their losses and their heads are measured on."""
    runs = [
        {
            "run": name,
            "arm": RUNS[name]["arm_name"],
            "seed": seed,
            "folder": run_folder(name, seed),
            "data": RUNS[name]["data"],
            "steps": RUNS[name]["steps"],
            "snapshots": RUNS[name]["snapshots"],
        }
        for name in induction_names()
        for seed in SEEDS
    ]
    part = SETTINGS["induction"]
    return as_json(
        {
            "runs": runs,
            "test_sequences": part["test_sequences"],
            "head_sequences": part["head_sequences"],
        }
    )
