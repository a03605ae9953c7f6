"""The report's prose: what it says of the paper's formulas is true, and what it names exists."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import yaml

from myopia.config.experiment import experiment, known
from myopia.show.report.results import PLACEHOLDER
from myopia.show.report.sections import section_texts
from own_claims import all_claims
from results_folder import REFERENCE, TEXTS

PAGE = yaml.safe_load((TEXTS / "page.yaml").read_text())
EXPERIMENTS = [experiment(name) for name in known()]
SECTIONS = {one.name: section_texts(one) for one in EXPERIMENTS}
ERRORS = yaml.safe_load((REFERENCE / "paper_errors.yaml").read_text())
CLAIMS = all_claims(EXPERIMENTS)


def texts(node):
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from texts(part)


def test_placeholders_name_rows_that_exist():
    paper, claims = set(pd.read_csv(REFERENCE / "paper_values.csv")["id"]), set(CLAIMS.by_id())
    found = [match for text in [*texts(PAGE), *texts(SECTIONS), *texts(ERRORS)] for match in PLACEHOLDER.finditer(text)]
    assert len(found) >= 6
    for match in found:
        assert {match["first"], match["second"]} - {None} <= (claims if match["kind"] == "ours" else paper), match[0]
    assert not [text for text in texts(ERRORS) if "{" in PLACEHOLDER.sub("", text)]


def test_one_figure_asks_for_the_top_of_the_page():
    lead = [name for told in SECTIONS.values() for name, figure in told["figures"].items() if figure.get("lead")]
    assert lead == ["fig4_position"]


def test_every_family_of_claims_is_shown_in_one_place():
    shown = [
        family
        for told in SECTIONS.values()
        for figure in told["figures"].values()
        for family in figure.get("families", ())
    ]
    assert len(shown) == len(set(shown))
    assert {claim.family for claim in CLAIMS.claims} - {"controls"} <= set(shown)


def test_sections_speak_of_figures_there_are():
    for one in EXPERIMENTS:
        told = set(SECTIONS[one.name]["figures"])
        assert told == {figure.name for figure in one.drawn}, one.name


def test_errors_are_whole_and_of_one_shape():
    for entry in [*ERRORS["paper"], *ERRORS["summary"]]:
        assert set(entry) == {"where", "printed", "correct", "matters"} and isinstance(entry["matters"], bool)


# --- the formulas paper_errors.yaml calls wrong and right ---


def moment(f, n: int = 200_001) -> float:
    """E f(x) for a standard normal x."""
    x = np.linspace(-12, 12, n)
    return float(np.trapezoid(f(x) * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), x))


def test_lemma_14():
    for b in (0.5, 1.0, 2.0):
        variance = moment(lambda x, b=b: np.sin(b * x) ** 2)
        assert math.isclose(variance, (1 - math.exp(-2 * b**2)) / 2, rel_tol=1e-9)
        assert 0.5 - math.exp(2 * b**2) / 2 < 0  # as printed


def test_lemma_15():
    for b in (0.5, 1.0, 2.0):
        variance = moment(lambda x, b=b: np.sin(b * x) ** 2)
        correlation = moment(lambda x, b=b: x * np.sin(b * x)) / math.sqrt(variance)
        right = math.sqrt(2) * b * math.exp(-(b**2) / 2) / math.sqrt(1 - math.exp(-2 * b**2))
        assert math.isclose(correlation, right, rel_tol=1e-9)
    assert 2 * math.exp(1.5) / (math.exp(2) - 1) > 1  # as printed, at b = 1
    assert math.sqrt(2) * 10 * math.exp(-50) < 1e-20  # the lemma's conclusion
