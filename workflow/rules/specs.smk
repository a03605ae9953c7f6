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
    if figure == "fig5_zero_shot":
        part, text = SETTINGS["family"], SETTINGS["text"]
        sizes = (
            f" Family ({', '.join(part['sizes'])}, {part['corpus']}, {len(part['seeds'])} seeds): fine-tuned pairs as the"
            " authors ran them, each arm at its own learning rate."
            if any(run.startswith("family-") for run, _, _ in zero_shot_pairs())
            else ""
        )
        return (
            f"Scale {scale}: {text['model']['model_type']}, {text['steps']} steps of {text['batch_size']} x {text['T']}"
            f" tokens, {n} seeds.{sizes}"
        )
    if figure == "fig5_released":
        return f"Scale {scale}: tasks {', '.join(SETTINGS['zero_shot']['tasks'])}."
    if figure in TOY_FIGURES:
        part = SETTINGS["toys"]
        letters, hidden, closed = (
            part["shared"]["alphabet"],
            part["hidden"],
            part["consequence"]["closed"],
        )
        told = {
            "toy_capacity": f"{letters} x {letters} inputs, {part['shared']['steps']} steps",
            "toy_hidden_bits": f"noise {hidden['noise']}, precision {hidden['precision']}, {hidden['steps']} steps of"
            f" {hidden['batch_size']}",
            "three_myopias": f"{letters} x {letters} inputs; closed loops of {closed['steps']} steps of"
            f" {closed['batch_size']}",
        }
        return f"Scale {scale}: {told[figure]}."
    if figure in ("fig11_gradient_anatomy", "forward_bias", "theory"):
        return anatomy_caption(figure)
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
    if figure == "induction":
        part = SETTINGS["induction"]
        task, model, rate = part["task"], part["model"], part["optim"]["lr"]
        return (
            f"Scale {scale}: GPT-2 shape, {model['n_layers']} layers of {model['n_heads']} heads, d_model"
            f" {model['d_model']}; {task['vocab_size']} tokens, periods {task['period'][0]} to"
            f" {task['period'][1]}, T = {task['T']}; {part['steps']} steps of {part['batch_size']}"
            f" sequences, learning rate {rate['vanilla']:g} (vanilla) and {rate['myopic']:g} (myopic),"
            f" {n} seeds."
        )
    if figure == "dose_response":
        return _dose_caption(scale, n)
    part = SETTINGS["synthetic"]
    task, model = part["task"], part["model"]
    return (
        f"Scale {scale}: a = {task['a']}, b = {task['b']}, T = {task['T']}, {model['n_layers']} layers,"
        f" d_model {model['d_model']}, {part['steps']} steps of {part['batch_size']} sequences, {n} seeds"
        " (paper: a = b = 10, T = 64, d_model 128, 58,594 steps of 512, one run)."
    )


def anatomy_caption(figure):
    part, text, scale = SETTINGS["anatomy"], SETTINGS["text"], SETTINGS["scale"]
    small = part["bias"]
    if figure == "fig11_gradient_anatomy":
        return (
            f"Scale {scale}: {part['blocks']} blocks of {part['block_windows']} windows of {text['T']} tokens"
            " (paper: Pythia-410m-deduped, 15 batches of 64 sequences)."
        )
    if figure == "forward_bias":
        return (
            f"Scale {scale}: a = {small['task']['a']}, b = {small['task']['b']}, T = {small['task']['T']},"
            f" p = {small['task']['p']}, {small['model']['n_layers']} layers, d_model {small['model']['d_model']},"
            f" {small['steps']} steps of {small['batch_size']} sequences."
        )
    return (
        f"Scale {scale}: {part['problems']} random problems of each kind, drawn from their seeds."
    )


def _dose_caption(scale, n):
    part, text = SETTINGS["synthetic"], SETTINGS["text"]
    runs = [spec for spec in RUNS.values() if spec["arm_name"] in ("vanilla", "myopic", *DOSES)]
    at = {"dp": part["control_p"]}
    rates = {
        kind: sorted(
            {
                (ARMS[spec["arm_name"]].get("beta", 1.0), spec["optim"]["lr"])
                for spec in runs
                if spec["data"]["kind"] == kind and spec["data"].get("p") == at.get(kind)
            }
        )
        for kind in ("dp", "tokens")
    }
    told = [
        f"D_p with a = {part['task']['a']}, b = {part['task']['b']}, T = {part['task']['T']},"
        f" {part['steps']} steps of {part['batch_size']} sequences, learning rates {_rates(rates['dp'])}"
    ]
    if set(text["arms"]) & set(DOSES):
        told.append(
            f"text {text['steps']} steps of {text['batch_size']} x {text['T']} tokens, learning rates"
            f" {_rates(rates['tokens'])}"
        )
    return f"Scale {scale}: {'; '.join(told)}; {n} seeds."


def _rates(pairs):
    """One rate, or each dose's own."""
    if len({rate for _, rate in pairs}) == 1:
        return f"{pairs[0][1]:g} throughout"
    return ", ".join(f"{rate:g} at beta = {beta:g}" for beta, rate in pairs)
