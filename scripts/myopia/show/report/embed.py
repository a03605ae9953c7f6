"""Files inside the page: pictures and tables as data: addresses, within one budget of bytes."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

LIMIT = 8_000_000
"""Bytes of the page at most."""

DECIMALS = re.compile(r"-?\d+\.\d{3,}")  # coordinates: a hundredth of a point is below any screen's pixel
SAFE = "/<>=:;,.!?*+-_()[]{}|'@$~^ "  # may stand unescaped in an address inside a double-quoted attribute


@dataclass
class Budget:
    """Bytes the page may still take."""

    left: int = LIMIT
    refused: list[str] = field(default_factory=list)  # files that are linked, because they would not fit

    def take(self, size: int) -> bool:
        """Whether so many bytes fit; if so they are spent."""
        if size > self.left:
            return False
        self.left -= size
        return True


def picture(svg: Path, budget: Budget) -> Markup:
    """The figure as an address an <img> can show; as PNG where the SVG is too large, as a link beside the page if both are."""
    png = svg.with_suffix(".png")
    for address in (_svg_address, _png_address):
        source = svg if address is _svg_address else png
        if source.is_file():
            uri = address(source)
            if budget.take(len(uri)):
                return Markup(uri)
    budget.refused.append(f"figures/{svg.name}")
    return Markup(f"figures/{quote(svg.name)}")


def _svg_address(path: Path) -> str:
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r'(?<= )(d|x|y)="([^"]*)"', lambda m: f'{m[1]}="{DECIMALS.sub(_rounded, m[2])}"', text)
    # Escaped text is smaller than base64, once it has few characters that must be escaped.
    text = text.replace('"', "'") if "'" not in text else text
    return "data:image/svg+xml," + quote(" ".join(text.split()), safe=SAFE)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}"


def _png_address(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def table(path: Path, budget: Budget) -> Markup:
    """A csv as an address to download it from; a link to the file beside the page where it does not fit."""
    uri = "data:text/csv;charset=utf-8," + quote(path.read_text(encoding="utf-8"), safe=SAFE)
    if budget.take(len(uri)):
        return Markup(uri)
    budget.refused.append(f"tables/{path.name}")
    return Markup(f"tables/{quote(path.name)}")


def shown_width(svg: Path) -> int:
    """CSS pixels a figure is shown in where there is room: a quarter more than its print size, so that 8 pt reads well."""
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg.read_text()[:2000])
    return round(float(found[1]) * 4 / 3 * 1.25) if found else 800
