"""The report, opened in a headless Chromium without network and used as a reader would."""

from __future__ import annotations

import json

import pytest

from helpers import browser

PROGRAM = browser.executable()

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.skipif(PROGRAM is None, reason="needs chromium or google-chrome on PATH"),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(reported, chromium):
    """Return the browser with the report open; after the test, nothing was reported as an error and nothing asked for."""
    chromium.messages.clear()
    chromium.open(reported / "report.html")
    chromium.wait("document.querySelector('nav') !== null")
    yield chromium
    assert chromium.errors() == []
    assert chromium.requested() == [(reported / "report.html").as_uri()]


def row(*cells):
    """Return the expression for the line of a list that shows these cells, among others."""
    return (
        "[...document.querySelectorAll('nav tbody tr')].find(row => "
        f"{json.dumps(cells)}.every(text => [...row.cells].some(cell => cell.innerText.trim() === text)))"
    )


def view(page, *cells):
    """Press the eye of a line."""
    page.wait(f"{row(*cells)} !== undefined")
    page.evaluate(f"{row(*cells)}.querySelector('a').click()")


def lines(page):
    """Return what a list shows, a list of cells for each line."""
    page.wait("document.querySelector('nav tbody tr') !== null")
    text = (
        "[...document.querySelectorAll('nav tbody tr')].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return [cells[:-1] for cells in page.evaluate(text)]


def shown_picture(page):
    """Return width and height of the picture itself, and where it stands in the window, once it is there."""
    return page.wait(
        "(image => image.naturalWidth > 0 && (box => [image.naturalWidth, image.naturalHeight, box.left, box.top, "
        "box.right, box.bottom, innerWidth, innerHeight])(image.getBoundingClientRect()))"
        "(document.querySelector('#app img[src^=\"data:image/png\"]'))"
    )


def test_it_opens_with_what_ran_and_says_how_to_read_it(page):
    text = page.wait("document.querySelector('.prose') && document.querySelector('.prose').innerText")
    assert "information-theoretic adversarial examples" in text
    assert "8 images on each network" in text
    for name in ("digits", "standard", "ddn", "mi_masking"):
        assert name in text
    # A link to a second category would show the list of the first: Snakemake's menu keeps it.
    assert page.evaluate("document.querySelectorAll('.prose a').length") == 0


def test_every_table_figure_and_example_is_there_with_a_caption(reported, page):
    there = page.evaluate("Object.entries(results).map(([path, result]) => [path, result.caption.length])")
    assert all(length > 100 for _, length in there), there
    files = [
        *reported.glob("results/tables/*.html"),
        *reported.glob("results/tables/*.csv"),
        *reported.glob("figures/*.png"),
    ]
    pictures = list(reported.glob("figures/examples/digits/standard/*.png"))
    assert {path.stem for path in pictures} == {"ddn", "mi_masking", "mi_masking-confidence-1", "noise"}
    wanted = {str(path.relative_to(reported)) for path in [*files, *pictures]}
    assert {path for path, _ in there} == wanted
    assert {"results/tables/runtime.html", "results/tables/provenance.html", "figures/grid_digits.png"} <= wanted


def test_a_table_opens_as_a_page(page):
    page.click("Tables")
    assert ["quality"] in lines(page)
    view(page, "quality")
    page.wait("document.querySelector('iframe').src.startsWith('data:text/html')")


def test_an_image_grid_shows_whole(page):
    page.click("Figures")
    assert ["grid_digits", "digits", "standard", "all"] in lines(page)
    view(page, "grid_digits")
    width, height, left, top, right, bottom, room, tall = shown_picture(page)
    assert width > 1000
    assert height > 300
    assert 0 <= left < right <= room
    assert 0 <= top < bottom <= tall


def test_examples_are_chosen_by_data_set_network_and_attack(page):
    page.click("Examples")
    page.wait(f"{row('ddn')} !== undefined")
    assert page.evaluate("[...document.querySelectorAll('nav th')].map(cell => cell.innerText)") == [
        *("DATA SET", "MODEL", "ATTACK"),
        "",
    ]
    attacks = ["ddn", "mi_masking", "mi_masking-confidence-1", "noise"]
    assert lines(page) == [["digits", "standard", attack] for attack in attacks]
    view(page, "digits", "standard", "ddn")
    first = page.evaluate("document.querySelector('#app img[src^=\"data:image/png\"]').src")
    assert shown_picture(page)[0] > 300
    view(page, "digits", "standard", "noise")
    shown_picture(page)
    assert page.evaluate("document.querySelector('#app img[src^=\"data:image/png\"]').src") != first


def test_the_rows_of_a_table_are_filtered_by_words(reported, chromium):
    chromium.messages.clear()
    chromium.open(reported / "results" / "tables" / "quality.html")
    shown = (
        "[...document.querySelectorAll('tbody tr')].filter(row => row.offsetHeight).map(row => row.cells[0].innerText)"
    )
    everything = chromium.evaluate(shown)
    assert set(everything) == {"DDN", "MI (masking)", "Noise, control"}
    typed = "(input => { input.value = %s; input.dispatchEvent(new Event('input')) })(document.querySelector('input'))"
    chromium.evaluate(typed % json.dumps("standard noise"))
    assert set(chromium.evaluate(shown)) == {"Noise, control"}
    chromium.evaluate(typed % json.dumps("nosuch"))
    assert chromium.evaluate(shown) == []
    assert chromium.evaluate("[...document.querySelectorAll('h3')].filter(title => title.offsetHeight).length") == 0
    assert chromium.errors() == []
    assert len(chromium.requested()) == 1
