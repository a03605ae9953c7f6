"""Docstring harvest: read without importing, deterministic, sensibly filtered."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from myopia.common.errors import MyopiaError
from myopia.data.docstrings import clean_docstring, is_english
from myopia.data.sources import DEFAULT_PACKAGES, iter_documents, source_provenance

LONG = "This is the text of a docstring that is long enough for the harvest and that is written in English. " * 3


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `fakepkg` that fails when it is imported."""
    root = tmp_path / "fakepkg"
    (root / "sub").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "__init__.py").write_text(f'"""{LONG} Module."""\nraise RuntimeError("imported")\n')
    (root / "sub" / "b.py").write_text(
        f'''
class C:
    """{LONG} Class.

        Indented twice.
    Once.
    """

    @property
    def p(self):
        """{LONG} Getter."""

    @p.setter
    def p(self, value):
        """{LONG} Setter."""

    def same(self):
        """{LONG} Getter."""

    def short(self):
        """Too short."""


try:
    pass
except ImportError:
    async def hidden():
        """{LONG} In a handler."""


def code():
    """{"x = f(y); z[0] = g(x) ; " * 20}"""
'''
    )
    (root / "tests" / "test_b.py").write_text(f'"""{LONG} A test."""\n')
    (root / "broken.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"kind": "docstrings", "packages": ["fakepkg"]}


def test_harvest_of_a_package_that_cannot_be_imported(package):
    dropped = Counter()
    found = list(iter_documents(package, dropped))
    assert [(d.id, d.group) for d in found] == [
        ("fakepkg/__init__.py:__doc__", "fakepkg"),
        ("fakepkg/sub/b.py:C", "fakepkg/sub"),
        ("fakepkg/sub/b.py:C.p", "fakepkg/sub"),
        ("fakepkg/sub/b.py:C.p#2", "fakepkg/sub"),
        ("fakepkg/sub/b.py:hidden", "fakepkg/sub"),
    ]
    assert dropped == {"duplicate": 1, "short": 1, "not_english": 1, "unparsed_file": 1}
    assert found[1].text.endswith("Class.\n\n    Indented twice.\nOnce.")
    assert "fakepkg" not in sys.modules


def test_provenance_holds_the_versions(package):
    import numpy

    source = {"kind": "docstrings", "packages": ["numpy", "sklearn"]}
    versions = source_provenance(source)["packages"]
    assert versions["numpy"] == numpy.__version__
    assert versions["sklearn"][0].isdigit()  # its distribution is called scikit-learn


def test_real_package_is_read_not_imported():
    code = (
        "import sys; from myopia.data.sources import iter_documents;"
        "docs = list(iter_documents({'kind': 'docstrings', 'packages': ['networkx']}));"
        "assert 'networkx' not in sys.modules and 'torch' not in sys.modules;"
        "print(len(docs), sum(len(d.text) for d in docs), len({d.id for d in docs}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "scripts")},
        check=True,
    )
    count, characters, ids = map(int, done.stdout.split())
    assert count == ids > 1000
    assert characters > 1_500_000


def test_default_packages_are_installed_and_without_torch():
    assert list(source_provenance({"kind": "docstrings"})["packages"]) == sorted(DEFAULT_PACKAGES)
    assert "torch" not in DEFAULT_PACKAGES


WRONG = [
    ({"packages": ["no_such_package"]}, "'no_such_package' is not installed; install it or remove it"),
    ({"packages": ["scikit-learn"]}, "'scikit-learn' is not a top-level import name"),
    ({"packages": ["scipy.stats"]}, "'scipy.stats' is not a top-level import name"),
    ({"packages": []}, "'packages' must be a list of at least one package name"),
    ({"packages": "numpy"}, "'packages' must be list, got \"numpy\""),
    ({"package": ["numpy"]}, "unknown key 'package'; known keys are kind, min_chars, packages"),
    ({"min_chars": 0}, "'min_chars' must be greater than 0"),
    ({"min_chars": True}, "'min_chars' must be int, got true"),
]


def test_bad_input():
    for source, sentence in WRONG:
        with pytest.raises(MyopiaError) as caught:
            list(iter_documents({"kind": "docstrings", **source}))
        assert sentence in str(caught.value), source


def test_unknown_kind():
    with pytest.raises(MyopiaError, match="unknown kind 'web'; use one of docstrings, files"):
        iter_documents({"kind": "web"})


def test_clean_docstring_agrees_with_inspect():
    import inspect

    import numpy

    for name in ("array", "dot", "linspace", "einsum", "histogram"):
        raw = getattr(numpy, name).__doc__
        expected = "\n".join(line.rstrip() for line in inspect.cleandoc(raw).split("\n"))
        assert clean_docstring(raw) == expected.strip()


def test_is_english():
    assert is_english("Return the mean of the values in an array.")
    assert not is_english("Gibt den Mittelwert aller Werte eines Feldes aus, sobald vorhanden.")
    assert not is_english(">>> x = f(y)\n>>> z = np.dot(x, y)\narray([1, 2, 3])")
