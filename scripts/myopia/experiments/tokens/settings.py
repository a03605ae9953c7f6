"""Settings of "where planning pays": how much of the text experiment's held-out text is looked at token by token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge
from pydantic import Strict

from myopia.common.errors import MyopiaError
from myopia.config.runs import PAIR, Spec
from myopia.config.schema import Count, Section, key

if TYPE_CHECKING:
    from myopia.config.dag import Dag


class Tokens(Section):
    """Where planning pays (protocol section 8), for every vanilla and myopic pair of `text`."""

    windows: Count = key("Most test windows whose tokens are compared, spread over documents.", 1024, unit="windows")
    influence_windows: Annotated[int, Strict(), Ge(2)] = key(
        "Test windows on which the influence sent forward is measured.", 32, unit="windows"
    )
    max_tau: Count = key("Farthest token to come that hidden states are probed for.", 8, unit="tokens ahead")
    probe_windows: Annotated[int, Strict(), Ge(4)] = key(
        "Validation windows probes are fitted on, and as many test windows to score them.", 256, unit="windows"
    )
    probe_tokens: Count = key("Most frequent tokens that probes tell apart; all others are one class.", 64)
    table_windows: Count = key(
        "Most training windows counted for the tables P(x_{t+tau} given x_t).", 200000, unit="windows"
    )
    top_tokens: Count = key(
        "Most extreme tokens of every seed kept with their context, by KL, gap and negative gap.", 20
    )


def units(dag: Dag) -> dict[str, list[Spec]]:
    """The matched pairs of a corpus are measured together; none where an arm of the pair is not trained.

    A seed's easiness is judged by the models of the next seed, and the extreme tokens are those of any seed.
    """
    found: dict[str, list[Spec]] = {}
    if not set(PAIR) <= set(dag.settings["text"]["arms"]):
        return found
    for run in dag.of("text", *PAIR):
        spec = dag.runs[run]
        corpus = spec["data"]["corpus"]
        found.setdefault(corpus, [])
        found[corpus] += [
            {
                "run": run,
                "arm": spec["arm_name"],
                "seed": seed,
                "corpus": corpus,
                "folder": dag.folder(run, seed),
                "tokens": dag.tokens(corpus),
            }
            for seed in dag.seeds(run)
        ]
    return dict(sorted(found.items()))


def measuring(settings: dict[str, Any]) -> Spec:
    """How much text is looked at."""
    return settings["tokens"]


def check(settings: dict[str, Any]) -> None:
    """Refuse what cannot be compared or probed, naming the key."""
    section, text, length = settings["tokens"], settings["text"], settings["context_length"]
    if section["max_tau"] > length - 2:
        raise MyopiaError(
            f"config key tokens.max_tau: windows of {length} tokens have none {section['max_tau']} ahead of two "
            "positions or more"
        )
    for name in text["corpora"]:
        if section["probe_tokens"] >= (settings["corpora"][name]["tokenizer"].get("vocab_size") or math.inf):
            raise MyopiaError(
                f"config key tokens.probe_tokens: {section['probe_tokens']} tokens cannot be told apart in the "
                f"vocabulary of {name}"
            )
