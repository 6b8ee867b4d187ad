"""Drawings: Vega-Lite's specifications, and the SVG that comes of them. Knows no database and no page.

Colours are variables of the page's style sheet, so that one drawing serves light, dark and paper. It holds no script,
and no style of its own: the page's policy allows neither.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any, Mapping, NamedTuple, Sequence

import vl_convert

VEGA_LITE = "5.20"
# In pixels of the page: of a screen or paper, and of a telephone, which letters of the same size fit, too.
WIDE, NARROW = 820, 322
LETTERS = 12
LETTER_WIDTH = 6.6
ROOM_OF_AXIS = 40
FEW = 5  # numbers along an axis


class Place(NamedTuple):
    """Where something stands along an axis. `label` empty: it has none there; with line ends: it has room for all."""

    key: str
    label: str


class Series(NamedTuple):
    """A name as the legend has it, and the style sheet's variable of its colour."""

    name: str
    colour: str


class Mark(NamedTuple):
    """`said`: what somebody reads who points at it."""

    key: str
    series: str
    value: float
    said: str


class Drawing(NamedTuple):
    """The same twice, as SVG."""

    wide: str
    narrow: str


def columns(
    places: Sequence[Place], series: Sequence[Series], marks: Sequence[Mark], *, unit: str, stacked: bool
) -> Drawing:
    """Bars side by side, those of one place on top of each other (`stacked`; below zero where they are negative), or
    each from zero on, the later before the earlier.
    """
    return _upright({"type": "bar"}, places, series, marks, unit=unit, stacked=stacked)


def areas(places: Sequence[Place], series: Sequence[Series], marks: Sequence[Mark], *, unit: str) -> Drawing:
    mark = {"type": "area", "line": False, "interpolate": "monotone"}
    if len(places) == 1:  # of one point there is no area
        mark = {"type": "bar"}
    return _upright(mark, places, series, marks, unit=unit, stacked=True)


def _upright(
    mark: dict[str, Any], places: Sequence[Place], series: Sequence[Series], marks: Sequence[Mark], **how: Any
) -> Drawing:
    steps = _steps(marks) if how["stacked"] else {"tickCount": FEW}

    def spec(width: int) -> dict[str, Any]:
        shown = _labelled(places, width=width)
        axis = {
            "values": list(shown), "labelExpr": f"({json.dumps(shown)})[datum.value]", "labelAngle": 0, "grid": False,
            "title": None, "labelFlush": False, "labelOverlap": False, "ticks": len(places) > len(shown),
        }  # fmt: skip
        of_y = {
            "labelExpr": "format(abs(datum.value), ',')", "title": how["unit"], "titleAngle": 0, "titleAlign": "left",
            "titleAnchor": "start", "titleX": 0, "titleY": -8, "domain": False, "ticks": False, **steps,
        }  # fmt: skip
        padding = {"paddingInner": min(0.25, len(places) / 60), "paddingOuter": 0.1}
        encoding = {
            "x": {"field": "key", "type": "ordinal", "sort": [place.key for place in places], "axis": axis,
                  "scale": {"domain": [place.key for place in places], **(padding if mark["type"] == "bar" else {})}},
            "y": {"field": "value", "type": "quantitative", "axis": of_y, "stack": "zero" if how["stacked"] else None},
        }  # fmt: skip
        size = {"size": min(64, width // 6)} if mark["type"] == "bar" and len(places) < 6 else {}
        whole = {**encoding, **_common(series, room=26)}  # the unit stands there, too
        if mark["type"] == "area":  # what differs in a word would be an area of its own
            del whole["description"]
        return {"height": 210, "mark": {**mark, **size}, "encoding": whole}

    return _drawn(marks, spec)


def _steps(marks: Sequence[Mark]) -> dict[str, Any]:
    """Where an axis has its numbers: of a few things at whole ones, to which Vega-Lite's tickMinStep does not see."""
    sums: defaultdict[tuple[str, bool], float] = defaultdict(float)
    for mark in marks:
        sums[mark.key, mark.value < 0] += mark.value
    least, most = int(min([0, *sums.values()])), int(max([0, *sums.values()]))
    return {"values": list(range(least, most + 1))} if most - least <= FEW else {"tickCount": FEW}


def rows(names: Sequence[str], series: Sequence[Series], marks: Sequence[Mark]) -> Drawing:
    """Bars that lie, one below the other, with their names before them and the sum behind."""
    sums = {name: sum(mark.value for mark in marks if mark.key == name) for name in names}

    def spec(width: int) -> dict[str, Any]:
        bars = {
            "y": {"field": "key", "type": "ordinal", "sort": None,
                  "scale": {"domain": list(names), "paddingInner": 0.3},
                  "axis": {"title": None, "domain": False, "ticks": False, "labelLimit": width * 0.38,
                           "labelPadding": 8}},
            "x": {"field": "value", "type": "quantitative", "stack": "zero",
                  "scale": {"domainMax": max([1.0, *sums.values()]) * 1.12}, "axis": None},
        }  # fmt: skip
        ends = {"values": [{"key": name, "value": total, "shown": f"{total:,.0f}"} for name, total in sums.items()]}
        texts = {
            "data": ends,
            "mark": {"type": "text", "align": "left", "dx": 5, "fill": "var(--ink)", "fontSize": LETTERS},
            "encoding": {"y": bars["y"], "x": {"field": "value", "type": "quantitative"}, "text": {"field": "shown"}},
        }
        layers = [{"mark": {"type": "bar"}, "encoding": {**bars, **_common(series, room=8)}}, texts]
        return {"height": {"step": 28}, "layer": layers}

    return _drawn(marks, spec)


def _labelled(places: Sequence[Place], *, width: int) -> Mapping[str, Sequence[str]]:
    """As many labels as there is room for, evenly; each as its lines."""
    labelled = [at for at, place in enumerate(places) if place.label]
    if not any("\n" in place.label for place in places):
        apart = (width - ROOM_OF_AXIS) / len(places)
        steps = (labelled[::step] for step in range(1, len(places) + 1))
        labelled = next(some for some in steps if _have_room([places[at].label for at in some], some, apart))
    return {places[at].key: places[at].label.split("\n") for at in labelled}


def _have_room(labels: Sequence[str], at: Sequence[int], apart: float) -> bool:
    needed = [(len(one) + len(other)) / 2 * LETTER_WIDTH + LETTERS for one, other in zip(labels, labels[1:])]
    return all(room <= (other - one) * apart for room, one, other in zip(needed, at, at[1:]))


def _common(series: Sequence[Series], *, room: int) -> dict[str, Any]:
    scale = {"domain": [each.name for each in series], "range": [f"var({each.colour})" for each in series]}
    legend = {"title": None, "orient": "top", "direction": "horizontal", "symbolType": "square", "offset": room}
    return {
        "color": {"field": "series", "type": "nominal", "scale": scale, "legend": legend if len(series) > 1 else None},
        "description": {"field": "said", "type": "nominal"},
    }


def _drawn(marks: Sequence[Mark], spec: Any) -> Drawing:
    values = [mark._asdict() for mark in marks]
    return Drawing(*(_svg({**spec(width), "width": width}, values) for width in (WIDE, NARROW)))


_CONFIG = {
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "titleFontWeight": "normal",
        "gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)",
        "labelFontSize": LETTERS, "titleFontSize": LETTERS,
    },
    "legend": {"labelColor": "var(--ink)", "labelFontSize": LETTERS, "symbolStrokeWidth": 0, "columnPadding": 20},
}  # fmt: skip


def _svg(spec: dict[str, Any], values: list[dict[str, Any]]) -> str:
    whole = {
        "data": {"values": values}, "autosize": {"type": "fit", "contains": "padding"}, "padding": 2, "config": _CONFIG,
        **spec,
    }  # fmt: skip
    return for_page(vl_convert.vegalite_to_svg(whole, vl_version=VEGA_LITE, allowed_base_urls=[]))


_TAG = re.compile(r"<[^>]*>")
_LEFT_OUT = re.compile(
    r' (?:(?:role|aria-[a-z]+|font-family|pointer-events|xmlns(?::xlink)?)="[^"]*"|opacity="1")|(?<=\d\.\d\d)\d+'
)


def for_page(svg: str) -> str:
    """Vega's SVG as a part of a page, to be read aloud as one picture, whose figures the page has in a table.

    What a mark says becomes its title, which a browser shows to who points at it.
    """
    svg = re.sub(r'<(path|rect) aria-label="([^"]*)"([^>]*)/>', r"<\1\3><title>\2</title></\1>", svg)
    svg = _TAG.sub(lambda tag: _LEFT_OUT.sub("", tag[0]), svg)  # names between tags stay as they are
    return re.sub(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', r"<svg \1>", svg, count=1)
