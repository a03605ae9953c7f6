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


def test_unknown_block_is_an_error(tmp_path):
    with pytest.raises(MyopiaError, match="does not exist"):
        render("<!-- generated: wishes -->\n<!-- end -->", tmp_path)
