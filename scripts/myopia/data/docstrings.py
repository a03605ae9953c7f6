"""English documentation text from installed packages: real prose with no network, read and never imported."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from myopia.common.errors import MyopiaError
from myopia.data.documents import Document
from myopia.data.specs import checked, positive

DEFAULT_PACKAGES = ("matplotlib", "networkx", "numpy", "pandas", "scipy", "sklearn", "statsmodels")
"""Large, prose-rich packages found under one version on PyPI and on conda-forge: about 18 million characters."""

_SPEC_TYPES = {"kind": str, "packages": list, "min_chars": int}
_SPEC_DEFAULTS = {"packages": list(DEFAULT_PACKAGES), "min_chars": 200}

# Tests and vendored copies are split off or replaced by some distributors, numpy/distutils comes with some
# releases of Python only, and builds write most of the files named; without them the harvest is equal in a
# pip and in a conda environment.
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "_tests", "testing", "_testing", "extern", "externals", "_externals", "vendored"}
    | {"_vendor", "array_api_compat", "array_api_extra", "distutils", "__pycache__"}
)
_SKIPPED_FILES = frozenset({"conftest.py", "__config__.py", "_distributor_init.py", "version.py", "_version.py"})

_FUNCTION_WORDS = frozenset(
    {"the", "of", "to", "and", "is", "in", "a", "for", "be", "that", "this", "with", "are", "as", "if", "or"}
    | {"an", "by", "not", "it", "from", "on", "which", "when", "can", "will"}
)
_MIN_FUNCTION_WORDS = 0.1
_WORD = re.compile(r"[a-z]+")


def iter_docstrings(source: Mapping[str, Any], dropped: Counter[str]) -> Iterator[Document]:
    """Docstrings of modules, classes and functions of the named packages, in path order.

    A document's group is the directory of its file (`scipy/stats`). Left out and counted in `dropped`:
    `short` (fewer than `min_chars` characters after dedenting), `not_english` (fewer than a tenth of its words
    are English function words: code, tables, other languages), `duplicate` (text seen before).
    Raises MyopiaError for a package that is not installed.
    """
    spec = _checked(source)
    seen: set[str] = set()
    roots = [(name, _package_root(name)) for name in sorted(set(spec["packages"]))]
    for _, root in roots:
        for path in _python_files(root):
            relative = path.relative_to(root.parent)
            for name, raw in _file_docstrings(path, dropped):
                text = clean_docstring(raw)
                if len(text) < spec["min_chars"]:
                    dropped["short"] += 1
                elif not is_english(text):
                    dropped["not_english"] += 1
                elif text in seen:
                    dropped["duplicate"] += 1
                else:
                    seen.add(text)
                    group = relative.parent.as_posix() if len(relative.parts) > 1 else relative.stem
                    yield Document(f"{relative.as_posix()}:{name}", group, text)


def docstring_provenance(source: Mapping[str, Any]) -> dict[str, Any]:
    """What the harvest depends on: the spec and the version of every package."""
    spec = _checked(source)
    packages = sorted(set(spec["packages"]))
    for name in packages:
        _package_root(name)
    return {
        "kind": "docstrings",
        "min_chars": spec["min_chars"],
        "packages": {name: _version(name) for name in packages},
    }


def clean_docstring(raw: str) -> str:
    """Expand tabs, remove the common indentation of all lines but the first, strip blank ends.

    Written out here because `inspect.cleandoc` may change between Python releases and the corpus must not.
    """
    first, *rest = raw.expandtabs().split("\n")
    margins = [len(line) - len(line.lstrip(" ")) for line in rest if line.strip()]
    margin = min(margins, default=0)
    lines = [first.lstrip(), *(line[margin:] for line in rest)]
    return "\n".join(line.rstrip() for line in lines).strip("\n").strip()


def is_english(text: str) -> bool:
    """Whether at least a tenth of the text's words are English function words."""
    words = _WORD.findall(text.lower())
    return sum(word in _FUNCTION_WORDS for word in words) >= _MIN_FUNCTION_WORDS * max(len(words), 1)


def _checked(source: Mapping[str, Any]) -> dict[str, Any]:
    spec = checked(source, "source", _SPEC_TYPES, _SPEC_DEFAULTS)
    positive(spec, "source", "min_chars")
    if not spec["packages"] or not all(isinstance(name, str) for name in spec["packages"]):
        raise MyopiaError("source: 'packages' must be a list of at least one package name.")
    return spec


def _package_root(name: str) -> Path:
    """Folder (or single file) of a top-level package, found without running any of its code."""
    from importlib.util import find_spec

    if not name.isidentifier():
        # find_spec("a.b") imports a, and a distribution name such as scikit-learn is not importable.
        raise MyopiaError(f"source: '{name}' is not a top-level import name; write for example 'sklearn'.")
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        raise MyopiaError(f"source: the package '{name}' is not installed; install it or remove it from 'packages'.")
    locations = list(spec.submodule_search_locations or [])
    return Path(locations[0]) if locations else Path(str(spec.origin))


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    try:
        return version(name)
    except PackageNotFoundError:
        # The import name is not the distribution's (sklearn, scikit-learn). Modules of Python have neither.
        distributions = packages_distributions().get(name)
        if distributions:
            return version(distributions[0])
        return sys.version.split()[0] if name in sys.stdlib_module_names else None


def _python_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix == ".py" else []
    found = [
        path
        for path in root.rglob("*.py")
        if path.name not in _SKIPPED_FILES
        and not path.name.startswith("test_")
        and _SKIPPED_FOLDERS.isdisjoint(path.relative_to(root).parts[:-1])
    ]
    # Not sorted(found): Path's order folds case on some systems.
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _file_docstrings(path: Path, dropped: Counter[str]) -> Iterator[tuple[str, str]]:
    """(qualified name, raw docstring) for every docstring of one file, in source order."""
    with warnings.catch_warnings():
        # Invalid escapes in other people's strings are not our user's business.
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            dropped["unparsed_file"] += 1
            return
    names: Counter[str] = Counter()
    for name, node in [("__doc__", tree), *_definitions(tree.body, "")]:
        raw = _raw_docstring(node)
        if raw is not None:
            # A property and its setter, or two branches of an if, share a qualified name.
            names[name] += 1
            yield (name if names[name] == 1 else f"{name}#{names[name]}"), raw


def _definitions(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """Classes and functions in statement order; only blocks are entered, so no expression is walked."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from _definitions(node.body, prefix)
            yield from _definitions(getattr(node, "orelse", []), prefix)
            for handler in getattr(node, "handlers", []):
                yield from _definitions(handler.body, prefix)


def _raw_docstring(node: ast.AST) -> str | None:
    body = getattr(node, "body", [])
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        value = body[0].value.value
        return value if isinstance(value, str) else None
    return None
