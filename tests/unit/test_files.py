"""Atomic files: whole or not at all, and the same bytes for the same content."""

import gzip
import json

import pandas as pd
import pytest

from myopia.common.files import atomic_path, canonical_json, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"b": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_bytes_depend_on_content_alone(tmp_path, name):
    frame = pd.DataFrame({"x": [1 / 3, None], "doc": ["a,b", "\u00e9"]})
    for folder in ("one", "two"):
        write_csv(tmp_path / folder / name, frame)
    one, two = ((tmp_path / f / name).read_bytes() for f in ("one", "two"))
    assert one == two and b"tmp" not in one
    text = gzip.decompress(one) if name.endswith("gz") else one
    assert text.decode() == 'x,doc\n0.3333333333,"a,b"\n,\u00e9\n'


def test_canonical_json_ignores_order_and_refuses_what_json_lacks():
    assert canonical_json({"b": 1, "a": [1.5]}) == '{"a":[1.5],"b":1}' == canonical_json({"a": [1.5], "b": 1})
    with pytest.raises(ValueError):
        canonical_json(float("nan"))
