"""README says what the published files say, and nothing else."""

import json
from pathlib import Path

import pandas as pd
import pytest

from myopia.common.errors import MyopiaError
from myopia.judge.verdicts import COLUMNS
from myopia.show.readme import render

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT / "docs" / "results"


def test_readme_is_not_stale():
    readme = (ROOT / "README.md").read_text()
    assert render(readme, PUBLISHED) == readme, "run: python scripts/publish_results.py"


def test_a_changed_result_changes_readme(tmp_path):
    frame = pd.DataFrame(
        [{"architecture": "gpt2", "T": 64, "ratio": 1.234, "aa_half_width": 0.01, "peak_ratio": 1.0,
          "dense_over_fused": None, "operator_dense_over_fused": None, "threads": 2, "pairs": 15}]
    )  # fmt: skip
    frame.to_csv(tmp_path / "attention.csv", index=False)
    text = render("<!-- generated: benchmark -->\nold\n<!-- end -->\n", tmp_path)
    assert "1.234 ± 0.010" in text and "old" not in text and "again" not in text
    again = frame.assign(ratio=0.987, dense_over_fused=4.2, operator_dense_over_fused=6.54)
    again = pd.concat([again, frame.assign(ratio=0.95, pairs=25)])
    again.to_csv(tmp_path / "attention-rerun.csv", index=False)
    text = render("<!-- generated: benchmark -->\nold\n<!-- end -->\n", tmp_path)
    assert "again, 15 and 25 pairs, for the operator, too: gpt2, T = 64: 0.987 ± 0.010 (dense" in text
    assert "(dense / fused: step 4.2, operator 6.5); gpt2, T = 64: 0.950 ± 0.010." in text


def test_the_survey_of_architectures_is_counted(tmp_path):
    block = "<!-- generated: architectures -->\n<!-- end -->"
    assert "Not surveyed yet" in render(block, tmp_path)
    columns = ["architecture", "outcome", "gradient", "forward", "evaluation", "why", "transformers"]
    rows = [("a", "exact", 3e-9, 1e-8, 4e-7, None, "9.8"), ("b", "exact", 5e-8, 0, 0, None, "9.8")]
    rows += [("c", "refused", *[None] * 3, "it leaks", "9.8"), ("e", "not tried", *[None] * 3, "too large", "9.8")]
    rows.append(("d", "not tried", *[None] * 3, "its decoder is an architecture of its own, listed", "9.8"))
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "architectures.csv", index=False)
    text = render(block, tmp_path)
    assert "Of the 5 causal language models that transformers 9.8 names" in text
    assert "**2 are exact** (no gradient is off by more than 5e-08 of the largest" in text
    assert "more than 4e-07; many" in text and "1 are refused in one sentence" in text
    assert "and 2 were not tried (1 of them" in text
    assert "<summary>Exact: 2</summary>\n\na, b\n" in text


def test_the_same_runs_on_another_cpu_are_compared_claim_by_claim(tmp_path):
    block = "<!-- generated: machines -->\n<!-- end -->"
    rows = [verdict("a", ours=0.5), verdict("b", ours=0.2), verdict("c", "not run at this scale", None)]
    frame = pd.DataFrame([{**row, "ci_low": row["ours"] and 0.1, "ci_high": row["ours"] and 0.7} for row in rows])
    for name in ("laptop", "laptop-avx2"):
        (tmp_path / name).mkdir()
    frame.to_csv(tmp_path / "laptop/verdicts.csv", index=False)
    assert "Not published yet" in render(block, tmp_path)
    frame.loc[1, ["ours", "verdict"]] = 0.26, "inconclusive"
    frame.to_csv(tmp_path / "laptop-avx2/verdicts.csv", index=False)
    text = render(block, tmp_path)
    assert "Of 2 estimates" in text and "more than 0.1 of the" in text and "and 1 have another outcome" in text
    assert (
        "| claim b | 0.200 [0.100, 0.700] | replicated (direction only) | 0.260 [0.100, 0.700] | inconclusive |" in text
    )
    assert "claim a" not in text and "claim c" not in text


def test_measured_costs_are_shown_by_figure(tmp_path):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    record = {"machine": ["arm64, 3 CPUs"], "device": ["cpu"], "runs": 9, "attempts": 9}
    (folder / "provenance.json").write_text(json.dumps(record))
    (folder / "cost.csv").write_text(
        "figure,runs,missing,attempts,device_hours,kwh,tokens,disk_gb\n"
        "one,7,0,7,0.1234,0.1,10,0.5\nother,7,0,7,0.1234,0.1,10,0.5\nnever,0,3,0,0,0,0,0\nall runs,9,0,9,0.2,0.2,20,0.6\n"
    )
    text = render("<!-- generated: hardware -->\n<!-- end -->\n", tmp_path)
    assert "scale `somewhere`** (arm64, 3 CPUs, cpu)" in text and "never" not in text
    assert "| one, other | 7 | 0.12 | 0.5 |\n| all runs | 9 | 0.2 | 0.6 |\n" in text
    assert text.count("**Planned, scale") == 2 and "| all |" in text
    assert "The whole scale" not in text  # nobody knows
    for attempts, told in ((9, True), (10, False)):  # a second attempt came who knows how much later
        (folder / "provenance.json").write_text(json.dumps({**record, "attempts": attempts, "wall_seconds": 7290}))
        text = render("<!-- generated: hardware -->\n<!-- end -->\n", tmp_path)
        assert ("\nThe whole scale, from its first job to its last: 2 h 2 min.\n" in text) == told


def test_unknown_block_is_an_error(tmp_path):
    with pytest.raises(MyopiaError, match="does not exist"):
        render("<!-- generated: wishes -->\n<!-- end -->", tmp_path)


def verdict(name, verdict="replicated", ours=1.0, where="p. 7", reason=None):
    row = dict.fromkeys(COLUMNS)
    row |= {"id": name, "claim": f"claim {name}", "where": where, "ours": ours, "seeds": 3, "documents": 0}
    return row | {"verdict": verdict, "reason": reason, "judged_by": "direction"}


def test_each_claim_is_shown_once_from_the_largest_scale_that_judged_it(tmp_path):
    tables = {
        "laptop": [verdict("a", ours=0.111), verdict("b", ours=0.222), verdict("c", "not run at this scale", 0.333),
                   verdict("control", "no paper value", where="control", reason="undecided; not a claim of the paper")],
        "cpu": [verdict("a", "not run at this scale", 0.444), verdict("b", "inconclusive", 0.555, reason="too wide"),
                verdict("c", "not run at this scale", 0.666), verdict("d", "not run at this scale", None)],
    }  # fmt: skip
    for name, rows in tables.items():
        (tmp_path / name).mkdir()
        pd.DataFrame(rows).to_csv(tmp_path / name / "verdicts.csv", index=False)
    text = render("<!-- generated: findings -->\n<!-- end -->", tmp_path)
    top, *folded = text.split("<details>")
    assert "| claim a (p. 7) |  | 0.111 | 3 | laptop | replicated (direction only) |" in top
    assert "| claim b (p. 7) |  | 0.555 | 3 | cpu | inconclusive (too wide) |" in top
    assert "1 inconclusive, 1 replicated, of 2 claims" in top and "claim c" not in top
    assert "Controls, 1: 1 undecided" in folded[0] and "claim c (p. 7) |  | 0.666 | 3 | cpu |" in folded[1]
    assert text.count("claim d") == 0 and len(folded) == 2


def test_the_answer_is_told_by_what_was_judged(tmp_path):
    tables = {
        "laptop": [verdict("table1-gap-every-p", "not run at this scale", None)],
        "cpu": [
            verdict("table2-gap-docstrings", ours=0.222),
            verdict("fig7-slope", "not run at this scale", None),
            verdict("fig7-slope-random", "no paper value", 0.333),
        ],
        "other": [
            verdict("table2-gap-msmarco", "not run at this scale", 0.444),
            verdict("fig7-slope", "not run at this scale", 0.5),
        ],
    }
    for name, rows in tables.items():
        (tmp_path / name).mkdir()
        pd.DataFrame(rows).to_csv(tmp_path / name / "verdicts.csv", index=False)
    (tmp_path / "cpu/table2_text_loss.png").touch()
    text = render("<!-- generated: answer -->\n<!-- end -->", tmp_path)
    synthetic, language, scale, *pictures = [line for line in text.splitlines() if line.startswith(("- ", "<a "))]
    assert "was not run at this scale" in synthetic and "Scale" not in synthetic
    assert (
        "planning pays, too (direction only)" in language and "0.222" in language and language.endswith("Scale `cpu`.")
    )
    assert "not judged at this scale" in scale and "best rates, from random initialisation: 0.333, 3 seeds)" in scale
    assert len(pictures) == 1 and 'src="docs/results/cpu/table2_text_loss.png"' in pictures[0]
    assert "No results are published yet" in render("<!-- generated: answer -->\n<!-- end -->", tmp_path / "nothing")
    tables["other"][0] = verdict("table2-gap-msmarco", ours=0.444)  # the paper's corpus, where it was judged
    pd.DataFrame(tables["other"]).to_csv(tmp_path / "other/verdicts.csv", index=False)
    language = render("<!-- generated: answer -->\n<!-- end -->", tmp_path).splitlines()[2]
    assert "0.444" in language and language.endswith("Scale `other`.")
