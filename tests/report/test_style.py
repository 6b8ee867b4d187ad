"""The colours: texts can be read, and what differs in a plot differs in lightness, for every eye and on grey paper."""

import re

import pytest

from tests.conftest import ROOT

STYLE = (ROOT / "report" / "page.css").read_text(encoding="utf-8")
SCHEMES = dict(zip(("light", "dark", "print"), re.findall(r":root \{([^}]*)\}", STYLE)))


def colours(scheme):
    return dict(re.findall(r"(--[a-z]+): (#[0-9a-f]{3,6})", SCHEMES[scheme]))


def contrast(one, other):
    """https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_there_are_three_schemes_with_the_same_colours():
    assert len(SCHEMES) == 3
    assert colours("light").keys() == colours("dark").keys() == colours("print").keys()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_can_be_read(scheme):
    found = colours(scheme)
    for name in ("--ink", "--soft", "--link", "--good", "--warning", "--bad"):
        for ground in ("--card", "--paper"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "one, other, least",
    [("--first", "--second", 1.5), ("--dark", "--middle", 1.5), ("--middle", "--light", 1.5), ("--first", "--card", 3),
     ("--light", "--card", 1.4)],
)  # fmt: skip
def test_marks_differ_in_lightness_from_each_other_and_from_the_ground(scheme, one, other, least):
    found = colours(scheme)
    assert contrast(found[one], found[other]) >= least, contrast(found[one], found[other])
