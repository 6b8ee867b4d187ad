"""The page in a real browser: it asks for nothing, complains of nothing, shows what it draws, and runs nothing."""

import pytest

import db
import main
from tests import browser as browsers
from tests.conftest import NO_BROWSER
from tests.report import made_up
from tests.report.test_report import CLOCK

# Of each picture that is seen: how many of its marks take up room, whether labels lie over each other, the colours.
LOOK = """
[...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width > 0).map(svg => {
    const marks = [...svg.querySelectorAll('.role-mark path, .role-mark rect')].filter(mark => {
        const box = mark.getBoundingClientRect();
        return box.width * box.height > 0;
    });
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent);
    const boxes = texts.map(text => text.getBoundingClientRect());
    const over = boxes.flatMap((a, i) => boxes.slice(i + 1).map((b, j) => [a, b, i, i + 1 + j])).filter(([a, b]) =>
        a.left + 1 < b.right && b.left + 1 < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom);
    return {
        name: svg.getAttribute('aria-label'), marks: marks.length, texts: texts.length,
        over: over.map(([a, b, i, j]) => texts[i].textContent + ' / ' + texts[j].textContent),
        colours: [...new Set(marks.map(mark => getComputedStyle(mark).fill))].sort(),
        smallest: Math.min(...texts.map(text => {
            const box = svg.viewBox.baseVal.width;
            return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / box;
        })),
    };
})
"""
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.fixture(scope="module")
def browser():
    if browsers.program() is None:
        (pytest.fail if browsers.is_required() else pytest.skip)(NO_BROWSER)
    started = browsers.Browser()
    yield started
    started.close()


def made(tmp_path, fill, *words):
    path, page = tmp_path / "pipeline.db", tmp_path / "report.html"
    conn = db.connect(str(path))
    fill(conn)
    conn.close()
    assert main.main(["report", "-q", "--db", str(path), "--out", str(page), *words], {}, CLOCK) == 0
    return page


def test_every_plot_has_marks_and_room_wherever_it_is_seen(browser, tmp_path):
    page = made(tmp_path, lambda conn: made_up.year(conn, items=300))
    seen = {}
    for width, scheme, media in ((1280, "light", ""), (390, "dark", ""), (700, "light", "print"), (320, "light", "")):
        with browser.opened(page, width=width, scheme=scheme, media=media) as shown:
            pictures = shown.ask(LOOK)
            assert shown.complaints() == []
            assert shown.requests() == [page.resolve().as_uri()]
            assert shown.ask(FITS), width
            assert len(pictures) == 12
            for picture in pictures:
                assert picture["marks"] > 0 and picture["texts"] > 2, picture
                assert picture["over"] == [], (width, picture)
                assert all(colour.startswith("rgb(") for colour in picture["colours"]), picture
                assert picture["smallest"] > 9, (width, picture)
            seen[width] = pictures
    assert seen[1280][0]["colours"] != seen[390][0]["colours"]
    assert seen[1280][0]["colours"] == seen[320][0]["colours"]


def test_a_table_fits_a_telephone_or_shows_that_it_goes_on(browser, tmp_path):
    page = made(tmp_path, lambda conn: made_up.year(conn, items=300))
    with browser.opened(page, width=390) as shown:
        shown.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
        tables = shown.ask("""
            [...document.querySelectorAll('.scroll')].map(each => [
                each.getAttribute('aria-label'), each.scrollWidth > each.clientWidth,
                getComputedStyle(each).backgroundImage.split('linear-gradient').length - 1])
        """)  # fmt: skip
    assert len(tables) == 13
    assert {shades for _, goes_on, shades in tables if goes_on} == {4}, tables


def test_nothing_of_a_payload_runs_and_the_policy_would_not_let_it(browser, tmp_path):
    hostile = '<script>window.hit = 1</script><img src="http://192.0.2.1/x" onerror="window.hit = 2">'

    def fill(conn):
        with db.transaction(conn):
            for at, title in enumerate((hostile, "\u202e" + "\u05d0" * 10_000)):
                more = {"title": title, "repo": hostile, "author": hostile, "created_at": "2026-11-01T00:00:00Z"}
                db.upsert(conn, "issues", [made_up.item(at, kind="pull_request", **more)])

    page = made(tmp_path, fill)
    with browser.opened(page, width=390) as shown:
        assert shown.ask("window.hit === undefined && document.scripts.length === 0 && document.images.length === 0")
        assert (shown.complaints(), shown.requests()) == ([], [page.resolve().as_uri()])
        assert shown.ask(FITS)
        shown.ask(
            """
            const made = document.createElement('script');
            made.textContent = 'window.hit = 3';
            document.body.append(made);
            document.body.insertAdjacentHTML('beforeend', '<img src="https://192.0.2.1/"><p style="color: red">');
            """
        )
        assert shown.ask("window.hit === undefined")
        assert len(shown.complaints()) >= 3 and all("Content Security" in str(said) for said in shown.complaints())


def test_an_empty_database_a_single_item_and_many_years_are_pages_without_a_complaint(browser, tmp_path):
    single = made_up.item(1, created_at="2026-11-26T00:00:00Z", closed_at="2026-11-26T01:00:00Z")
    fillings = {
        "none": (lambda conn: None, 0),
        "one": (lambda conn: db.upsert(conn, "issues", [single]), 2),
        "years": (lambda conn: made_up.year(conn, days=2500, streams=("issues", "pulls")), 6),
    }
    for name, (fill, plots) in fillings.items():
        (tmp_path / name).mkdir()
        page = made(tmp_path / name, fill, "--since", "2019-01-01")
        with browser.opened(page, width=390) as shown:
            pictures = shown.ask(LOOK)
            assert (shown.complaints(), shown.ask(FITS)) == ([], True)
            assert all(picture["marks"] > 0 and picture["over"] == [] for picture in pictures), pictures
            assert len(pictures) == plots
