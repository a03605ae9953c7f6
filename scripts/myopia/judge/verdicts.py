"""From measurements to verdicts: the rules of protocol section 4, applied in one place.

A claim is first *evaluated* (its estimate against its criterion gives met, violated or undecided), then *judged*
(scale, seeds, steps, controls and Holm's correction decide what may be said).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from myopia.judge.claims import CONTROL, Claim, ClaimSet
from myopia.judge.measures import Measures, NotRun, Paper
from myopia.judge.registry import Context, run_estimator
from myopia.judge.stats import Estimate, holm
from myopia.judge.text_loss import trained_steps

REPLICATED, PARTLY, NOT_REPLICATED = "replicated", "partly", "not replicated"
SAME, OTHER = "same direction at small scale", "not so at small scale"
HOLDS, FAILS = "holds", "does not hold"
INCONCLUSIVE, NOT_RUN, NO_PAPER = "inconclusive", "not run at this scale", "no paper value"
VERDICTS = (REPLICATED, SAME, HOLDS, PARTLY, NOT_REPLICATED, OTHER, FAILS, INCONCLUSIVE, NOT_RUN, NO_PAPER)
YES, NO, UNDECIDED, NOT_JUDGED = "yes", "no", "undecided", "not judged"
ANSWERS = (YES, PARTLY, UNDECIDED, NO, NOT_JUDGED)
UNMET = "judged only where"
"""What the reason of a row begins with that this scale may judge, but which leans on another that does not hold."""
PAPER_SCALE = "paper"
"""The one scale of the paper's sizes: nowhere else is a claim called replicated."""
COLUMNS = [
    "id",
    "claim",
    "where",
    "paper_value",
    "ours",
    "ci_low",
    "ci_high",
    "seeds",
    "documents",
    "criterion",
    "group",
    "answer",
    "verdict",
    "reason",
    "judged_by",
    "family",
    "p_holm",
    "control",
    "claims_sha256",
]
MET, VIOLATED = "met", "violated"
ALPHA = 0.05


@dataclass
class Evaluated:
    """A claim with its estimate and the bare outcome of its test."""

    claim: Claim
    estimate: Estimate | None = None
    paper: float = math.nan
    outcome: str | None = None  # met | violated | undecided | None (no interval)
    p: float = math.nan
    absent: str = ""  # why there is no estimate
    blocked: str = ""  # why the estimate may not be judged at this scale
    note: str = ""
    p_holm: float = math.nan


def judge(
    measures: Measures, claims: ClaimSet, paper: Paper, scale: str, own: Collection[str] | None = None
) -> pd.DataFrame:
    """The verdict table, one row per claim in the order of the claims files.

    `own`: ids of the claims that are judged; of the others only those that these lean on are evaluated, and they get no
    row. None means all. Claims of a test family must be judged together, for Holm's correction.
    """
    context = Context(measures, paper)
    rows_of = {claim.id for claim in claims.claims} if own is None else set(own)
    needed = _needed(claims, rows_of)
    evaluated = {claim.id: _evaluate_claim(claim, context, scale) for claim in claims.claims if claim.id in needed}
    _require(evaluated)
    _correct(evaluated)
    rows: dict[str, dict[str, Any]] = {}
    for one in evaluated.values():
        if not one.claim.sub_claims:
            rows[one.claim.id] = _row(one, evaluated, claims.sha256, scale)
    for one in evaluated.values():
        if one.claim.sub_claims:
            rows[one.claim.id] = _composite(one.claim, rows, claims.sha256, scale)
    return pd.DataFrame([rows[claim.id] for claim in claims.claims if claim.id in rows_of], columns=COLUMNS)


def _needed(claims: ClaimSet, wanted: set[str]) -> set[str]:
    """Those claims and all that they name, directly or through others."""
    by_id, found, new = claims.by_id(), set(), set(wanted)
    while new:
        found |= new
        named = (name for claim in map(by_id.get, new) for name in (*claim.control, *claim.requires, *claim.sub_claims))
        new = set(named) - found
    return found


def _evaluate_claim(claim: Claim, context: Context, scale: str) -> Evaluated:
    paper, error = context.paper.resolve(claim.paper)
    evaluated = Evaluated(claim, paper=paper)
    if claim.sub_claims:
        return evaluated
    if claim.estimand is None:
        evaluated.absent = claim.reason
        return evaluated
    args = dict(claim.estimand.get("args", {}))
    try:
        estimate = run_estimator(claim.estimand["name"], context, args)
    except NotRun as missing:
        evaluated.absent = str(missing)
        return evaluated
    evaluated.estimate = estimate
    evaluated.outcome, evaluated.p, evaluated.note = outcome(claim, estimate, paper, error)
    evaluated.blocked = _blocked(claim, estimate, context, scale, args)
    return evaluated


def _blocked(claim: Claim, estimate: Estimate, context: Context, scale: str, args: dict[str, Any]) -> str:
    if scale not in claim.scales:
        where = ", ".join(claim.scales) or "no scale"
        return f"judged at {where} only; the estimate is shown"
    if estimate.seeds < claim.min_seeds:
        return f"needs {claim.min_seeds} seeds, has {estimate.seeds}; the estimate is shown"
    if claim.min_steps:
        try:
            steps = trained_steps(context, args["corpus"], claim.arms, args.get("runs"))
        except NotRun as missing:
            return f"steps unknown: {missing}"
        if steps < claim.min_steps:
            return f"judged from {claim.min_steps} steps on, trained {steps}; the estimate is shown"
    return ""


def _require(evaluated: dict[str, Evaluated]) -> None:
    """Block claims that are only evaluated where another row holds: unlike a control, undecided is not enough."""
    for one in evaluated.values():
        for name in one.claim.requires:
            if one.estimate is not None and not one.blocked and evaluated[name].outcome != MET:
                state = evaluated[name].outcome or "not measured"
                one.blocked = f"{UNMET} {evaluated[name].claim.claim} ({name}: {state}); the estimate is shown"


def outcome(claim: Claim, estimate: Estimate, paper: float, error: float) -> tuple[str | None, float, str]:
    """(met | violated | undecided, p, note) of one test; no interval gives None."""
    delta = float(claim.delta or 0.0)
    if claim.test == "every":
        return _every(claim, estimate, delta)
    if estimate.constant:
        return _constant(claim, estimate, delta)
    low, high = estimate.interval()
    if math.isnan(low):
        return None, math.nan, "one seed or one held-out unit gives no interval"
    if claim.test == "value":
        return *_value_outcome(claim, estimate, paper, error), ""
    if claim.test == "equivalence":
        p = estimate.tost(delta)
        if p <= ALPHA:
            return MET, p, ""
        return (VIOLATED if low > delta or high < -delta else UNDECIDED), p, ""
    p = estimate.p_value(delta)
    beyond, other = (low > delta, high < delta) if claim.side == "above" else (high < delta, low > delta)
    return (MET if beyond else VIOLATED if other else UNDECIDED), p, ""


def _every(claim: Claim, estimate: Estimate, delta: float) -> tuple[str, float, str]:
    """Whether every seed by itself lies beyond delta."""
    sign = 1 if claim.side == "above" else -1
    each = estimate.per_seed or (estimate.value,)
    short = sum(not sign * (value - delta) > 0 for value in each)
    note = f"{short} of {len(each)} seeds are not {claim.side} {delta:g}" if short else ""
    return (VIOLATED if short else MET), math.nan, note


def _constant(claim: Claim, estimate: Estimate, delta: float) -> tuple[str, float, str]:
    """What several seeds of one value decide: that two things are the same, or that a theorem holds; nothing else."""
    if claim.test == "equivalence":
        return (MET if abs(estimate.value) < delta else VIOLATED), math.nan, "equal to the last digit in every seed"
    if claim.kind == "theorem":
        return (MET if (estimate.value - delta) * (1 if claim.side == "above" else -1) > 0 else VIOLATED), math.nan, ""
    return UNDECIDED, math.nan, f"all {estimate.seeds} seeds give the same number, so nothing says how sure it is"


def _value_outcome(claim: Claim, estimate: Estimate, paper: float, error: float) -> tuple[str, float]:
    low, high = estimate.interval()
    if claim.range is not None:
        goal = claim.range
    elif claim.factor is not None:
        goal = (paper / claim.factor, paper * claim.factor)
    else:
        goal = (paper - (claim.tolerance or 0.0), paper + (claim.tolerance or 0.0))
    if low > goal[1] or high < goal[0]:
        return VIOLATED, math.nan
    inside = goal[0] <= estimate.value <= goal[1]
    if claim.max_half_width is not None and (high - low) / 2 > claim.max_half_width:
        inside = False
    if not math.isnan(paper):
        bottom, top = estimate.prediction_interval(error)
        inside = inside and bottom <= paper <= top
    return (MET if inside else UNDECIDED), math.nan


def _correct(evaluated: dict[str, Evaluated]) -> None:
    """Holm within each table or figure, over the rows judged at this scale: the paper's claims, and our own findings.

    Controls are left out: each must hold for a row to be judged, so correcting them would only hide a failing one.
    """
    families: dict[tuple[str, bool], list[Evaluated]] = {}
    for one in evaluated.values():
        if one.estimate is None or one.blocked or math.isnan(one.p) or one.claim.group == CONTROL:
            continue
        families.setdefault((one.claim.family, one.claim.own), []).append(one)
    for members in families.values():
        for one, p in zip(members, holm([m.p for m in members]), strict=True):
            one.p_holm = p


def control_state(one: Evaluated) -> str:
    """passed | failed | undecided | not run."""
    if one.estimate is None:
        return "not run"
    return {MET: "passed", VIOLATED: "failed"}.get(one.outcome or "", "undecided")


def _verdict(one: Evaluated, evaluated: dict[str, Evaluated], scale: str) -> tuple[str, str, str]:
    """(answer, verdict, reason)."""
    claim = one.claim
    if one.estimate is None:
        return NOT_JUDGED, NOT_RUN, one.absent
    if one.blocked:
        return NOT_JUDGED, NOT_RUN, one.blocked
    answer, reason = _answer(one, evaluated)
    return answer, word(answer, claim, scale), reason


def _answer(one: Evaluated, evaluated: dict[str, Evaluated]) -> tuple[str, str]:
    # Controls come first: neither our own findings nor the paper's may lean on an instrument not shown to work.
    for name in one.claim.control:
        state = control_state(evaluated[name])
        if state != "passed":
            detail = evaluated[name].absent or evaluated[name].claim.claim
            return UNDECIDED, f"control {state}: {name} ({detail})"
    if one.outcome is None:
        return UNDECIDED, one.note
    if one.outcome == VIOLATED:
        return NO, one.note
    if one.outcome == MET and not (one.p_holm > ALPHA):
        return YES, one.note
    if one.outcome == MET:
        return UNDECIDED, f"interval beyond delta, but not after Holm's correction (p = {one.p_holm:.3g})"
    return UNDECIDED, one.note or "the interval does not decide"


def word(answer: str, claim: Claim, scale: str) -> str:
    """The verdict on a row that was judged: a direction seen on small networks is never called a replication."""
    if claim.own:
        return NO_PAPER
    if answer in (PARTLY, UNDECIDED):
        return {PARTLY: PARTLY, UNDECIDED: INCONCLUSIVE}[answer]
    if claim.kind == "theorem":
        return HOLDS if answer == YES else FAILS
    if scale == PAPER_SCALE:
        return REPLICATED if answer == YES else NOT_REPLICATED
    return SAME if answer == YES else OTHER


def _row(one: Evaluated, evaluated: dict[str, Evaluated], sha256: str, scale: str) -> dict[str, Any]:
    claim, estimate = one.claim, one.estimate
    answer, verdict, reason = _verdict(one, evaluated, scale)
    low, high = estimate.interval() if estimate else (math.nan, math.nan)
    return {
        "id": claim.id,
        "claim": claim.claim,
        "where": claim.where,
        "paper_value": one.paper,
        "ours": estimate.value if estimate else math.nan,
        "ci_low": low,
        "ci_high": high,
        "seeds": estimate.seeds if estimate else 0,
        "documents": estimate.documents if estimate else 0,
        "criterion": claim.criterion,
        "group": claim.group,
        "answer": answer,
        "verdict": verdict,
        "reason": reason,
        "judged_by": claim.kind,
        "family": claim.family,
        "p_holm": one.p_holm,
        "control": "; ".join(f"{name}: {control_state(evaluated[name])}" for name in claim.control),
        "claims_sha256": sha256,
    }


def _composite(claim: Claim, rows: dict[str, dict[str, Any]], sha256: str, scale: str) -> dict[str, Any]:
    """A claim with listed sub-claims; `partly` exists only here."""
    parts = [rows[name] for name in claim.sub_claims]
    found = {part["answer"] for part in parts}
    judged = found - {NOT_JUDGED}
    if not judged:
        answer, verdict = NOT_JUDGED, NOT_RUN
    else:
        if len(found) == 1:
            answer = found.pop()
        elif YES in judged:
            answer = PARTLY
        else:
            answer = NO if judged == {NO} else UNDECIDED
        verdict = word(answer, claim, scale)
    counts = {one: sum(part["answer"] == one for part in parts) for one in ANSWERS}
    ran = [part for part in parts if part["verdict"] != NOT_RUN]
    return {
        "id": claim.id,
        "claim": claim.claim,
        "where": claim.where,
        "paper_value": math.nan,
        "ours": math.nan,
        "ci_low": math.nan,
        "ci_high": math.nan,
        "seeds": min((part["seeds"] for part in ran), default=0),
        "documents": min((part["documents"] for part in ran), default=0),
        "criterion": claim.criterion,
        "group": claim.group,
        "answer": answer,
        "verdict": verdict,
        "reason": f"of {len(parts)} sub-claims: " + ", ".join(f"{n} {one}" for one, n in counts.items() if n),
        "judged_by": claim.kind,
        "family": claim.family,
        "p_holm": math.nan,
        "control": "",
        "claims_sha256": sha256,
    }
