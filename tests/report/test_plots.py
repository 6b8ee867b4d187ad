"""The drawings: whole XML, every text of a payload escaped in it, nothing that a page's policy would refuse."""

import re
import xml.etree.ElementTree

import pytest

from report import plots
from report.plots import Mark, Place, Series

HOSTILE = '</svg><script>alert("1")</script>&amp;\u05d0\u05d1'
SERIES = (Series("opened", "--first"), Series("closed", "--second"))


def texts(svg):
    return [each.text or "" for each in xml.etree.ElementTree.fromstring(svg).iter() if each.tag in ("text", "title")]


def drawings():
    places = [Place(HOSTILE, HOSTILE), Place("b", "b")]
    marks = [Mark(place.key, each.name, 3, HOSTILE) for each in SERIES for place in places]
    yield plots.columns(places, SERIES, marks, unit="items", stacked=True)
    yield plots.columns(places, SERIES, marks, unit="items", stacked=False)
    yield plots.areas(places, SERIES, marks, unit="items")
    yield plots.areas(places[:1], SERIES, [mark for mark in marks if mark.key == HOSTILE], unit="items")
    yield plots.rows([HOSTILE, "b"], SERIES, marks)


@pytest.mark.parametrize("drawing", drawings(), ids=["stacked", "nested", "areas", "one place", "rows"])
def test_a_drawing_holds_no_script_no_style_and_no_address_and_escapes_what_it_is_given(drawing):
    for svg in drawing:
        assert any(HOSTILE[:10] in text for text in texts(svg))
        assert "<script" not in svg and "style=" not in svg
        assert not re.search(r"(?:href|src|xmlns|id)=|url\(", svg)
        fills = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
        assert fills - {"none"} and all(fill == "none" or fill.startswith("var(--") for fill in fills), fills


def test_each_mark_says_what_it_is_and_nothing_is_read_aloud_one_by_one():
    places = [Place(f"k{at}", "") for at in range(4)]
    marks = [Mark(place.key, "opened", at + 1, f"{place.key} said") for at, place in enumerate(places)]
    drawing = plots.columns(places, SERIES[:1], marks, unit="items", stacked=True)
    for svg in drawing:
        assert [text for text in texts(svg) if "said" in text] == [mark.said for mark in marks]
        assert "aria-" not in svg


def test_a_name_is_shown_as_it_is_whatever_is_left_out_of_the_drawing():
    names = ["CVE-2026.12345", 'a role="x" opacity="1"']
    drawing = plots.rows(names, SERIES[:1], [Mark(name, "opened", 1, f"{name}: 1") for name in names])
    for svg in drawing:
        assert {*names, *(f"{name}: 1" for name in names)} <= set(texts(svg))
        assert not re.search(r"\d\.\d{3}[^<]*>", svg)


@pytest.mark.parametrize("values, numbers", [([1, 2], "0 1 2"), ([1, -1], "1 0 1"), ([8, 3], "0 2 4 6 8")])
def test_an_axis_counts_whole_items(values, numbers):
    places = [Place("a", ""), Place("b", "")]
    marks = [Mark(place.key, "opened", value, "") for place, value in zip(places, values)]
    for svg in plots.columns(places, SERIES[:1], marks, unit="items", stacked=True):
        assert sorted(text for text in texts(svg) if text[:1].isdigit()) == sorted(numbers.split())


def test_labels_are_left_out_evenly_where_there_is_no_room():
    places = [Place(str(at), f"label {at}") for at in range(30)]
    narrow, wide = (plots._labelled(places, width=width) for width in (322, 820))
    assert (list(narrow), len(wide)) == (["0", "7", "14", "21", "28"], 10)
    assert len(plots._labelled(places[:3], width=322)) == 3
    in_lines = [place._replace(label=place.label.replace(" ", "\n")) for place in places]
    assert plots._labelled(in_lines, width=322)["29"] == ["label", "29"]
    assert plots._labelled([Place("a", "")], width=322) == {}
