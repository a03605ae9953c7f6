"""The answer's sentences: a template for every verdict, and no small-scale verdict without its mark."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

from myopia.judge.verdicts import NO_PAPER, NOT_RUN, VERDICTS
from myopia.show.report.answer import ABSENT, DIRECTION, JUDGED, SENTENCES, UNJUDGED, answer, sentence, shown_verdict


def row(verdict, judged_by="direction", ours=0.374, **more):
    filled = dict(id="table1-gap-p1", claim="far worse at p = 1", ours=ours, ci_low=0.247, ci_high=0.5, seeds=3)
    return SimpleNamespace(**filled | dict(verdict=verdict, judged_by=judged_by, paper_value=0.994, reason="") | more)


def unmeasured(verdict):
    return row(verdict, ours=math.nan, ci_low=math.nan, ci_high=math.nan, seeds=0)


def test_every_verdict_there_is_has_a_sentence_of_its_own():
    for topic in SENTENCES:
        said = [sentence(topic, unmeasured(v), [unmeasured(v)]) for v in VERDICTS]
        said += [sentence(topic, row(NOT_RUN), [row(NOT_RUN)]), sentence(topic, None, [])]
        assert set(SENTENCES[topic]) == {*VERDICTS, UNJUDGED, ABSENT}, topic
        assert len(set(said)) == len(VERDICTS) + 2, topic
        for text in said:
            assert re.fullmatch(r"[A-Z][^{}]*[^.{}]\.", text), text


def test_a_direction_is_marked_and_only_a_direction():
    for verdict in VERDICTS:
        marked = verdict in JUDGED
        for one in (row(verdict), unmeasured(verdict)):
            value = SimpleNamespace(**vars(one) | {"judged_by": "value"})
            for topic in SENTENCES:
                assert (DIRECTION in sentence(topic, one, [one])) == marked, (verdict, topic)
                assert DIRECTION not in sentence(topic, value, [value]), (verdict, topic)
            assert (DIRECTION in shown_verdict(one)) == marked, verdict
            assert DIRECTION not in shown_verdict(value), verdict


def test_numbers_are_those_of_the_table():
    one = row("replicated")
    assert "(gap as a share of the trivial predictor's loss: p = 1: 0.374 [0.247, 0.500], 3 seeds, paper 0.994)" in (
        sentence("synthetic", one, [one, unmeasured("replicated")])
    )
    alone = row(
        "replicated", ci_low=math.nan, ci_high=math.nan, seeds=1, paper_value=math.nan, id="fig7-slope", claim="rises"
    )
    assert "(nats per tenfold of parameters: 0.374, 1 seed)" in sentence("scale", alone, [alone])
    corpus = row("replicated", id="table2-gap-docstrings", claim="the gap is positive (docstrings)")
    assert "docstrings: 0.374" in sentence("text", corpus, [corpus])


def test_no_sentence_claims_what_was_not_judged():
    for topic in SENTENCES:
        for key in (NOT_RUN, UNJUDGED, ABSENT, NO_PAPER):
            text = SENTENCES[topic][key]
            assert "{mark}" not in text and not re.search(
                r"\b(learn to plan|grows with|pays)\b(?!.*(not|none))", text
            ), text


def test_an_own_finding_says_whether_it_holds():
    assert shown_verdict(row(NO_PAPER, reason="criterion met; not a claim of the paper")) == "criterion met"


def test_of_several_corpora_the_first_that_was_judged_speaks():
    topics = {"text": {"claims": ["one", "two", "three"], "figure": "drawn"}}
    told = lambda rows: answer(rows.get, topics)[0]  # noqa: E731
    rows = {"one": row(NOT_RUN, ours=0.111), "two": row("replicated", ours=0.222), "three": row("partly", ours=0.333)}
    assert told(rows)["row"] is rows["two"] and "0.222" in told(rows)["text"] and told(rows)["figure"] == "drawn"
    del rows["two"]
    assert told(rows)["row"] is rows["three"]
    rows = {"one": unmeasured(NOT_RUN), "three": row(NOT_RUN, ours=0.333)}
    assert told(rows)["row"] is rows["three"]
    assert told({"one": unmeasured(NOT_RUN)})["text"] == SENTENCES["text"][NOT_RUN]
    assert told({})["row"] is None and told({})["text"] == SENTENCES["text"][ABSENT]
