"""Settings and runs of the text experiment: every arm on each corpus, from random initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Len
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.corpora import tokenizer_vocab
from myopia.config.runs import (
    ARMS,
    PAIR,
    Spec,
    add,
    check_batches,
    check_sweep_rates,
    common_spec,
    grid_specs,
    purpose_of,
    seeds_phrase,
    shape_phrase,
)
from myopia.config.schema import (
    Arm,
    Count,
    Distinct,
    Evaluation,
    Optimizer,
    Positive,
    Rates,
    Section,
    Text,
    key,
    optimizer,
)

if TYPE_CHECKING:
    from myopia.config.dag import Dag


class AtCorpus(Section):
    """What replaces the experiment's settings on one corpus."""

    steps: Count | None = key("Optimiser steps.", None)
    lr: dict[Arm, Positive] | None = key("Peak learning rates that replace optim.lr, by arm.", None)


class Model(Section):
    """The network, randomly initialised."""

    model_type: Text = key("A transformers model type (gpt2, gpt_neox, llama ...).")
    config: dict[Text, Any] = key("Overrides of that type's config; attention dropout is 0 unless set.")


class Snapshots(Section):
    """Which runs keep their weights along training, and when."""

    arms: Annotated[list[Literal["vanilla", "myopic"]], Distinct] = key(
        "Arms whose weights are kept, where they are trained."
    )
    ratio: Annotated[int, Strict(), Gt(1)] | Annotated[float, Strict(), Gt(1)] = key(
        "Weights are kept at steps 0 and 1 and each time the step has grown by this factor."
    )


class TextSettings(Section):
    """Language models on text (paper section 5.1)."""

    corpora: Annotated[list[Text], Len(1), Distinct] = key("Names of corpora to train on.", ["docstrings"])
    # as the paper does for Fig 4: trained on passages, read on books
    evaluate_on: dict[Text, Annotated[list[Text], Distinct]] = key(
        "Trained corpus: further corpora its models are measured on, in its own tokenizer. Takes effect where the "
        "trained corpus is used.",
        {"msmarco": ["pg19"]},
    )
    at_corpus: dict[Text, AtCorpus] = key(
        "Trained corpus: what replaces the settings below on it. Takes effect where the corpus is trained on.", {}
    )
    arms: Annotated[list[Arm], Len(2), Distinct] = key("Arms to train on each corpus.", ["vanilla", "myopic"])
    # gelu_pytorch_tanh is GPT-2's own gelu_new in one kernel
    model: Model = key(
        "The network.",
        {
            "model_type": "gpt2",
            "config": {
                "n_layer": 2, "n_embd": 64, "n_head": 2, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
                "activation_function": "gelu_pytorch_tanh",
            },
        },
    )  # fmt: skip
    optim: Optimizer = key("Optimiser and schedule.", optimizer(vanilla=2.0e-3, myopic=2.0e-3))
    lr_grid: Rates = key("Learning rates tried for both arms by the target `tuned`.", [1.0e-3, 2.0e-3, 4.0e-3, 8.0e-3])
    batch_size: Count = key("Global batch.", 20, unit="sequences")
    micro_batch: Count = key("Sequences per forward pass; gradients are accumulated.", 20, unit="sequences")
    steps: Count = key("Optimiser steps.", 1200)
    eval: Evaluation = key("Validation while training.", {"every": 100, "sequences": 512})
    snapshots: Snapshots = key("Weights kept along training.", {"arms": ["vanilla", "myopic"], "ratio": 2})
    test_windows: Count = key("Most test windows evaluated, spread over documents.", 4096, unit="windows")
    influence_tokens: Annotated[int, Strict(), Ge(2)] = key(
        "Length of the text in the influence picture.", 24, unit="tokens"
    )


# --- runs ---


def runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """Every arm on every corpus; the arms named in `snapshots` keep their weights along training."""
    section, purpose = settings["text"], purpose_of(settings)
    specs: dict[str, Spec] = {}
    for corpus in section["corpora"]:
        for arm in section["arms"]:
            spec = _spec(settings, corpus, arm, purpose if arm in PAIR else "control")
            if arm in section["snapshots"]["arms"]:
                spec["snapshots"] = snapshot_steps(spec["steps"], section["snapshots"]["ratio"])
            add(specs, spec)
    return specs


def tuning_runs(settings: dict[str, Any]) -> dict[str, Spec]:
    """The learning-rate grid of both arms of the pair on every corpus."""
    section = settings["text"]
    specs: dict[str, Spec] = {}
    for corpus in section["corpora"]:
        grid = grid_specs(lambda arm, corpus=corpus: _spec(settings, corpus, arm, "tuning"), section["lr_grid"])
        for spec in grid.values():
            add(specs, spec)
    return specs


def snapshot_steps(steps: int, ratio: float) -> list[int]:
    """Step 0, step 1 and each time the step has grown by `ratio`, as whole numbers below `steps`."""
    found, at = [0], 1.0
    while round(at) < steps:
        if round(at) > found[-1]:
            found.append(round(at))
        at *= ratio
    return found


def at_corpus(section: Mapping[str, Any], corpus: str) -> dict[str, Any]:
    """The section as it holds on one corpus: its own steps and learning rates where it has them."""
    own = section["at_corpus"].get(corpus, {})
    rates = {**section["optim"]["lr"], **(own.get("lr") or {})}
    return {**section, "steps": own.get("steps") or section["steps"], "optim": {**section["optim"], "lr": rates}}


def _spec(settings: dict[str, Any], corpus: str, arm: str, purpose: str) -> Spec:
    section = at_corpus(settings["text"], corpus)
    model, length = section["model"], settings["context_length"]
    gpt2 = model["model_type"] == "gpt2"
    config = {"attn_pdrop": 0.0, "n_positions": length} if gpt2 else {"attention_dropout": 0.0}
    return {
        **common_spec(settings, section, arm, purpose),
        "name": f"text-{corpus}-{arm}",
        "model": {
            "kind": "language",
            "model_type": model["model_type"],
            "config": {**config, **model["config"]},
        },
        "data": {"kind": "tokens", "corpus": corpus, "T": length},
        **({"teacher": f"text-{corpus}-vanilla"} if ARMS[arm]["kind"] == "local" else {}),
    }


# --- measuring ---


def units(dag: Dag) -> dict[str, list[Spec]]:
    """Each run and seed can be measured alone.

    An entry is a model on a corpus, its own or a further one; `tables` says to which tables it gives rows (loss,
    components, curve, influence). The components of a mixture are listed once for a corpus, influence is drawn for the
    first seed of the pair. A local arm needs the model whose past it reads.
    """
    found: dict[str, list[Spec]] = {}
    further, listed = dag.settings["text"]["evaluate_on"], set()
    for run in dag.of("text"):
        spec, seeds = dag.runs[run], dag.seeds(run)
        trained_on = spec["data"]["corpus"]
        for seed in seeds:
            model = {
                "run": run,
                "arm": spec["arm_name"],
                "seed": seed,
                "folder": dag.folder(run, seed),
                "teacher": None,
            }
            if "teacher" in spec:
                teacher = dag.folder(spec["teacher"], seed)
                model |= {"teacher": teacher, "also": [f"{teacher}/model.safetensors"]}
            entries = []
            for corpus in [trained_on, *further[trained_on]]:
                own = corpus == trained_on
                tables = ["loss"]
                tables += [] if corpus in listed else ["components"]
                tables += ["curve"] if own else []
                tables += ["influence"] if own and spec["arm_name"] in PAIR and seed == min(seeds) else []
                listed.add(corpus)
                tokens = dag.tokens(corpus) if own else further_tokens(dag, trained_on, corpus)
                entries.append({**model, "corpus": corpus, "tokens": tokens, "tables": tables})
            found[f"{run}-seed{seed}"] = entries
    return found


def measuring(settings: dict[str, Any]) -> Spec:
    """How much text losses and pictures of influence are taken from."""
    section = settings["text"]
    return {"max_windows": section["test_windows"], "influence_tokens": section["influence_tokens"]}


def further_tokens(dag: Dag, trained_on: str, corpus: str) -> str:
    """Folder of a corpus encoded with the tokenizer of the one that models were trained on."""
    return f"{dag.results}/data/{trained_on}/on/{corpus}"


def further_manifests(dag: Dag) -> list[str]:
    """What says that the corpora models are only measured on are encoded."""
    return [
        f"{further_tokens(dag, trained_on, corpus)}/tokens.manifest.json"
        for trained_on, corpora in dag.settings["text"]["evaluate_on"].items()
        for corpus in corpora
    ]


# --- captions ---


def caption(settings: dict[str, Any]) -> str:
    """What the figures' captions say about this scale."""
    section = settings["text"]
    model = shape_phrase(section["model"]["model_type"], section["model"]["config"])
    return (
        f"Scale {settings['scale']}: {model}, {steps_phrase(section)} of"
        f" {section['batch_size']} x {settings['context_length']} tokens, {seeds_phrase(settings['seeds'])}."
    )


def steps_phrase(section: Mapping[str, Any]) -> str:
    """Optimiser steps of the runs, in words: of most, and of the corpora that have their own."""
    own = [f"{name} {at['steps']}" for name, at in section["at_corpus"].items() if at.get("steps")]
    return f"{section['steps']} steps" + (f" ({', '.join(own)})" if own else "")


# --- corpora and checks ---


def corpora(settings: dict[str, Any]) -> dict[str, str]:
    """Corpora that models are trained on, and those they are only measured on, with the key that names each."""
    section = settings["text"]
    further = [name for names in section["evaluate_on"].values() for name in names]
    return dict.fromkeys(section["corpora"], "text.corpora") | dict.fromkeys(further, "text.evaluate_on")


def resolve(settings: dict[str, Any], data_root: str | None) -> None:
    """With a data_root, laptop and cpu train on the local corpora it holds as well; entries of other corpora go.

    Raises:
        MyopiaError: data_root holds nothing that is known, or a corpus is named where it cannot be.
    """
    section = settings["text"]
    if data_root and settings["scale"] in ("laptop", "cpu"):
        here, absent = _local_corpora(settings["corpora"], data_root)
        section["evaluate_on"] = {
            name: [other for other in others if other not in absent] for name, others in section["evaluate_on"].items()
        }
        trained = [*section["corpora"], *here]
        only_read = {other for name, others in section["evaluate_on"].items() if name in trained for other in others}
        section["corpora"] = list(
            dict.fromkeys(name for name in trained if name in section["corpora"] or name not in only_read)
        )
    section["evaluate_on"] = {name: section["evaluate_on"].get(name, []) for name in section["corpora"]}
    for name in section["at_corpus"]:
        if name not in settings["corpora"]:
            raise MyopiaError(f"config key text.at_corpus: corpus {name!r} is not described under corpora")
    section["at_corpus"] = {name: own for name, own in section["at_corpus"].items() if name in section["corpora"]}
    further = [name for names in section["evaluate_on"].values() for name in names]
    for name in further:
        if name in section["corpora"] or further.count(name) > 1:
            raise MyopiaError(
                f"config key text.evaluate_on: corpus {name!r} is also trained on or read twice, so that its rows "
                "would mean two models; name it once"
            )


def _local_corpora(described: Mapping[str, Any], data_root: str) -> tuple[list[str], list[str]]:
    """Local corpora whose folder is in data_root, and the others; a root with neither corpora nor tasks is a mistake."""
    paths = {n: c["source"]["path"] for n, c in described.items() if "{data_root}" in str(c["source"].get("path", ""))}
    folder = str(data_root).rstrip("/")
    here = [name for name, path in paths.items() if Path(path.replace("{data_root}", folder)).exists()]
    if not here and not Path(folder, "evals").exists():
        names = ", ".join([*(path.replace("{data_root}/", "") for path in paths.values()), "evals"])
        raise MyopiaError(f"config key data_root: {data_root} holds no folder of a local corpus ({names})")
    return here, [name for name in paths if name not in here]


def check(settings: dict[str, Any]) -> None:
    """Refuse settings that make no network or no comparison, naming the key."""
    section = settings["text"]
    check_batches(section, "text")
    for arm in section["arms"]:
        if ARMS[arm]["kind"] == "local" and "vanilla" not in section["arms"]:
            raise MyopiaError(f"config key text.arms: {arm} reads the past of the vanilla arm; add vanilla")
    check_sweep_rates("text.optim.lr", section["optim"]["lr"], section["arms"])
    for corpus, own in section["at_corpus"].items():
        if own.get("lr"):
            rates = at_corpus(section, corpus)["optim"]["lr"]
            check_sweep_rates(f"text.at_corpus.{corpus}.lr", rates, section["arms"])
    _check_network(settings)


def _check_network(settings: dict[str, Any]) -> None:
    section, length = settings["text"], settings["context_length"]
    network = section["model"]["config"]
    width = _whole(network, "n_embd", "hidden_size")
    heads = _whole(network, "n_head", "num_attention_heads")
    positions = _whole(network, "n_positions", "max_position_embeddings")
    if width and heads and width % heads:
        raise MyopiaError(f"config key text.model.config: width {width} is not divisible by {heads} heads")
    if positions and positions < length:
        raise MyopiaError(
            f"config key context_length: windows of {length} tokens do not fit into the {positions} positions of "
            "text.model.config"
        )
    rows = network.get("vocab_size")
    for name in section["corpora"]:
        wanted = tokenizer_vocab(settings["corpora"][name]["tokenizer"])
        if rows is not None and wanted is not None and rows < wanted:
            raise MyopiaError(
                f"config key text.model.config.vocab_size: {rows} rows are too few for the {wanted} tokens of the "
                f"tokenizer of corpus {name!r}"
            )


def _whole(network: Mapping[str, Any], *names: str) -> int | None:
    """The first of `names` a Hugging Face config sets, checked to be a whole number; None if it sets none."""
    for name in names:
        if name in network:
            if not isinstance(network[name], int) or isinstance(network[name], bool) or network[name] < 1:
                raise MyopiaError(
                    f"config key text.model.config.{name}: {network[name]!r} is not a whole number above 0"
                )
            return network[name]
    return None
