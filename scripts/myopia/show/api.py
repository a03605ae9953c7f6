"""The public names of the package as a page, from their signatures and docstrings; nothing is imported for it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

from myopia.config.load import ROOT

SECTION = re.compile(r"(Args|Returns|Raises|Yields):")


def api() -> str:
    """Every name of `myopia.__all__` with its signature and its docstring, as Markdown."""
    package = importlib.import_module("myopia")
    return "\n".join(_entry(name, package._HOMES[name]) for name in package.__all__)


def _entry(name: str, module: str) -> str:
    source = Path(ROOT, "scripts", *module.split(".")).with_suffix(".py")
    (node,) = (one for one in ast.parse(source.read_text()).body if getattr(one, "name", None) == name)
    text = markdown(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        return f"## {name}\n\n```python\nclass {name}({bases})\n```\n\n{text}"
    return f"## {name}\n\n```python\n{signature(node)}\n```\n\n{text}"


def signature(node: ast.FunctionDef) -> str:
    """ "name(a, b, *, c=1) -> int", one argument a line where it would be long."""
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    shown = [
        _argument(one, value)
        for one, value in zip(plain, [None] * (len(plain) - len(a.defaults)) + a.defaults, strict=True)
    ]
    if a.vararg or a.kwonlyargs:
        shown.append(f"*{a.vararg.arg}" if a.vararg else "*")
    shown += [_argument(one, value) for one, value in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(shown)}){result}"
    return line if len(line) <= 100 else f"{node.name}(\n" + "".join(f"    {one},\n" for one in shown) + f"){result}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    written = argument.arg + (f": {ast.unparse(argument.annotation)}" if argument.annotation else "")
    if default is None:
        return written
    return f"{written} = {ast.unparse(default)}" if argument.annotation else f"{written}={ast.unparse(default)}"


def markdown(docstring: str) -> str:
    """A docstring with its `Args:`, `Returns:` and `Raises:` as lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(docstring).splitlines():
        if SECTION.fullmatch(line):
            section = line.removesuffix(":")
            lines += [f"**{section}**", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            item = f"`{name}`: {rest}" if colon and section != "Returns" else line.strip()
            lines.append(f"- {item}")
        else:
            section = section if line.startswith(" ") or not line else ""
            lines.append(f"  {line.strip()}" if section and line else line)
    return "\n".join(lines) + "\n"
