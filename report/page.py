"""The page as HTML: one file, which asks nobody for anything, and in which nothing is executed.

Its policy allows the style sheet by its hash, and no script of any origin; all that comes from a payload is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import NamedTuple, Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from report.freshness import BAD, GOOD, WARNING, Freshness
from report.pieces import Link, Plot, Section, Table
from report.sections import Number

_HERE = Path(__file__).resolve().parent
_STATES = {GOOD: "In order", WARNING: "To know", BAD: "To mend"}
_NUMBER = re.compile(r"[\d\u2013]|less than")


class Page(NamedTuple):
    title: str
    about: str
    numbers: Sequence[Number]
    freshness: Freshness
    sections: Sequence[Section]
    remarks: Sequence[str]


def html(page: Page, *, generator: str) -> bytes:
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    templates = Environment(
        loader=FileSystemLoader(str(_HERE)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters.update(cell=_cell, kind=_kind, picture=_picture)
    made = templates.get_template("page.html").render(
        page=page,
        style=Markup(style),  # noqa: S704 - ours
        policy=_policy(style),
        states=_STATES,
        generator=generator,
    )
    return made.encode("utf-8", "replace")  # half of a pair, which JSON may hold, is no text


def _policy(style: str) -> str:
    """A style sheet is trusted by what it holds: https://www.w3.org/TR/CSP3/#framework-directive-source-list"""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _cell(cell: str | Link) -> Markup:
    """A text whose direction is its own; a link only where it is one to the web."""
    if isinstance(cell, Link):
        name, mark, number = cell.text.rpartition("#")
        text = Markup("<bdi>{}<wbr>{}</bdi>").format(name, mark + number)
        if re.match(r"https?://", cell.address or ""):
            text = Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(cell.address, text)
        return text + Markup('<div class="of" dir="auto">{}</div>').format(cell.title)
    return escape(cell) if _NUMBER.match(cell) else Markup('<bdi dir="auto">{}</bdi>').format(cell)


def _kind(table: Table, at: int) -> Markup:
    """The class of a column: of numbers, which stand below each other, or of texts."""
    cells = [row[at] for row in table.rows]
    if at and all(isinstance(cell, str) and _NUMBER.match(cell) for cell in cells):
        return Markup(' class="number"')
    return Markup(' class="title"') if table.heads[at] == "why" else Markup("")


def _picture(plot: Plot, which: str) -> Markup:
    """Vega has escaped every text in it (tests/report/test_plots.py)."""
    assert plot.drawing is not None  # noqa: S101 - the template asks
    svg: str = getattr(plot.drawing, which)
    named = svg.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(plot.title), 1)
    return Markup(named)  # noqa: S704 - as it says above
