# What captions say about a scale: sizes, seeds, and where they differ from the paper's; and where figures stand in
# Snakemake's own report, which is ordered as ours is.
with open(Path(workflow.basedir) / "report" / "sections.yaml") as handle:
    PLACES = {
        figure: (section["title"], told["title"])
        for section in yaml.safe_load(handle)["sections"]
        for figure, told in section["figures"].items()
    }


def seeds_of(seeds):
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"


def category(figure):
    return PLACES.get(figure, ("Further figures", figure))[0]


def labels(figure):
    return {"figure": PLACES.get(figure, ("", figure))[1], "file": figure}


def text_steps():
    """Optimiser steps of the text runs: of most, and of the corpora that have their own."""
    text = SETTINGS["text"]
    own = [f"{name} {at['steps']}" for name, at in text["at_corpus"].items() if "steps" in at]
    return f"{text['steps']} steps" + (f" ({', '.join(own)})" if own else "")


def _given(part):
    return [size for size in part["sizes"] if "pretrained" in part["networks"][size]]


def _networks(part):
    return ", ".join(_given(part)) or part["model_type"]


def _pretraining(part):
    if _given(part):
        return "released weights"
    return f"pretrained for {part['pretrain']['steps']} steps of {part['pretrain']['batch_size']}"


def caption(figure):
    """What a figure's caption must say about this scale: sizes, seeds and where they differ from the paper's."""
    scale, n = SETTINGS["scale"], len(SEEDS)
    if figure in ("fig7_gap_by_size", "audit_gap_by_lr"):
        part = SETTINGS["family"]
        return (
            f"Scale {scale}: {_networks(part)} on {part['corpus']}; {_pretraining(part)}, fine-tuned on"
            f" {part['finetune']['sequences']} sequences of {SETTINGS['text']['T']} tokens; from random"
            f" initialisation {part['scratch']['steps']} steps of {part['scratch']['batch_size']};"
            f" {seeds_of(part['seeds'])}"
            " (paper: released Pythia weights, 10,000,000 sequences of the Pile, one run)."
        )
    if figure == "fig5_zero_shot":
        part, text = SETTINGS["family"], SETTINGS["text"]
        sizes = (
            f" Family ({', '.join(scored_sizes(SETTINGS))}, {part['corpus']}, {seeds_of(part['seeds'])}): fine-tuned pairs as the"
            " authors ran them, each arm at its own learning rate."
            if any(run.startswith("family-") for run, _, _ in zero_shot_pairs())
            else ""
        )
        return (
            f"Scale {scale}: {text['model']['model_type']}, {text_steps()} of {text['batch_size']} x {text['T']}"
            f" tokens, {seeds_of(SEEDS)}.{sizes}"
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
            f"Scale {scale}: {text['model']['model_type']} ({model}), {text_steps()} of"
            f" {text['batch_size']} x {text['T']} tokens, {seeds_of(SEEDS)}."
        )
    if figure in ("fig9_multiplication", "fig10_filler", "multiplication_digits"):
        part = SETTINGS["multiplication"]
        model = ", ".join(
            f"{k} {v}" for k, v in sorted(part["model"].items()) if k.startswith("n_")
        )
        return (
            f"Scale {scale}: GPT-2's shape ({model}), {part['examples']:,} training problems, {seeds_of(SEEDS)}"
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
            f" {seeds_of(SEEDS)}."
        )
    if figure == "dose_response":
        return _dose_caption(scale, n)
    part = SETTINGS["synthetic"]
    task, model = part["task"], part["model"]
    return (
        f"Scale {scale}: a = {task['a']}, b = {task['b']}, T = {task['T']}, {model['n_layers']} layers,"
        f" d_model {model['d_model']}, {part['steps']} steps of {part['batch_size']} sequences, {seeds_of(SEEDS)}"
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

    def rates(kind, **data):
        found = [spec for spec in runs if {"kind": kind, **data}.items() <= spec["data"].items()]
        return _rates(
            sorted(
                {(ARMS[spec["arm_name"]].get("beta", 1.0), spec["optim"]["lr"]) for spec in found}
            )
        )

    told = [
        f"D_p with a = {part['task']['a']}, b = {part['task']['b']}, T = {part['task']['T']},"
        f" {part['steps']} steps of {part['batch_size']} sequences, learning rates"
        f" {rates('dp', p=part['control_p'])}"
    ]
    if set(text["arms"]) & set(DOSES):
        at = {corpus: rates("tokens", corpus=corpus) for corpus in text["corpora"]}
        told.append(
            f"text {text_steps()} of {text['batch_size']} x {text['T']} tokens, learning rates "
            + (
                at[text["corpora"][0]]
                if len(set(at.values())) == 1
                else "; ".join(f"{corpus} {shown}" for corpus, shown in at.items())
            )
        )
    return f"Scale {scale}: {'; '.join(told)}; {seeds_of(SEEDS)}."


def _rates(pairs):
    """One rate, or each dose's own."""
    if len({rate for _, rate in pairs}) == 1:
        return f"{pairs[0][1]:g} throughout"
    return ", ".join(f"{rate:g} at beta = {beta:g}" for beta, rate in pairs)
