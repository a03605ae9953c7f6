"""Files inside the page: pictures and tables as data: addresses, within one budget of bytes."""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

LIMIT = 8_000_000
"""Bytes of the page at most."""

GZIP = "data:application/gzip;base64,"
PACKED = 20_000
"""Bytes from which a table is packed: five times smaller, and the page's script unpacks it again when it is saved."""

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
    budget.refused.append(_beside(svg))
    return Markup(quote(_beside(svg)))


def _beside(path: Path) -> str:
    """Where a file lies beside the page."""
    here = f"{path.parent.name}/{path.name}"
    return f"released/{here}" if path.parent.parent.name == "released" else here


def _svg_address(path: Path) -> str:
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", path.read_text(), flags=re.DOTALL)
    text = re.sub(r'(?<= )(d|x|y)="([^"]*)"', lambda m: f'{m[1]}="{DECIMALS.sub(_rounded, m[2])}"', text)
    # Letters are most of a figure, each a reference to its glyph: short names for them save a quarter.
    text = re.sub(r"translate\(([^)]*)\)", lambda m: f"translate({DECIMALS.sub(_rounded, m[1])})", text)
    text = text.replace('xlink:href="#', 'href="#').replace("DejaVuSans", "D")
    # Escaped text is smaller than base64, once it has few characters that must be escaped.
    text = text.replace('"', "'") if "'" not in text else text
    return "data:image/svg+xml," + quote(" ".join(text.split()).replace("> <", "><"), safe=SAFE)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}"


def _png_address(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def table(path: Path, budget: Budget) -> Markup:
    """A csv as an address to download it from, gzipped if large; a link to the file beside the page where it does not fit."""
    if path.stat().st_size < PACKED:
        uri = "data:text/csv;charset=utf-8," + quote(path.read_text(encoding="utf-8"), safe=SAFE)
    else:
        uri = GZIP + base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode()
    if budget.take(len(uri)):
        return Markup(uri)
    budget.refused.append(_beside(path))
    return Markup(quote(_beside(path)))


def saved_as(name: str, address: str) -> str:
    """The name under which a browser without script saves a table."""
    return f"{name}.csv.gz" if address.startswith(GZIP) else f"{name}.csv"


def shown_width(svg: Path) -> int:
    """CSS pixels a figure is shown in where there is room: a quarter more than its print size, so that 8 pt reads well."""
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg.read_text()[:2000])
    return round(float(found[1]) * 4 / 3 * 1.25) if found else 800
