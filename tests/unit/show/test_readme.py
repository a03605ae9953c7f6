"""README says what the published files say, and nothing else."""

from pathlib import Path

import pandas as pd
import pytest

from myopia.common.errors import MyopiaError
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
    assert "1.234 ± 0.010" in text and "old" not in text


def test_measured_costs_are_shown_by_figure(tmp_path):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "provenance.json").write_text('{"machine": ["arm64, 3 CPUs"], "device": ["cpu"]}')
    (folder / "cost.csv").write_text(
        "figure,runs,missing,attempts,device_hours,kwh,tokens,disk_gb\n"
        "one,7,0,7,0.1234,0.1,10,0.5\nother,7,0,7,0.1234,0.1,10,0.5\nnever,0,3,0,0,0,0,0\nall runs,9,0,9,0.2,0.2,20,0.6\n"
    )
    text = render("<!-- generated: hardware -->\n<!-- end -->\n", tmp_path)
    assert "scale `somewhere`** (arm64, 3 CPUs, cpu)" in text and "never" not in text
    assert "| one, other | 7 | 0.12 | 0.5 |\n| all runs | 9 | 0.2 | 0.6 |\n" in text
    assert text.count("**Planned, scale") == 2 and "| all |" in text


def test_unknown_block_is_an_error(tmp_path):
    with pytest.raises(MyopiaError, match="does not exist"):
        render("<!-- generated: wishes -->\n<!-- end -->", tmp_path)
