"""The report in a browser: it draws all charts from disk, asks no one for anything, and shows image after image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.dvc_plots import write_plots_page
from tests.conftest import Project
from tests.e2e.browser import browser_tab
from tests.tiny_report import report_on

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

PATIENCE = 60_000  # milliseconds
DRAWN = "() => document.documentElement.dataset.drawn === '{}'"


class Watched:
    """A tab, and what was asked and said in it."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.requests: list[str] = []
        self.messages: list[str] = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.messages.append(f"error: {error}"))

    def asked_others(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def report(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    out = report_on(tiny_run, tmp_path_factory)
    with browser_tab(PATIENCE, color_scheme="light") as tab:
        watched = Watched(tab)
        tab.goto(out.as_uri())
        tab.wait_for_function(DRAWN.format("light"))
        yield watched


def test_it_opens_from_disk_without_a_message_or_a_request(report: Watched) -> None:
    assert report.messages == []
    assert report.asked_others() == []


def test_every_chart_is_drawn_and_every_section_is_seen(report: Watched) -> None:
    charts = report.tab.locator("div.chart")
    assert charts.count() == 16
    for index in range(charts.count()):
        assert charts.nth(index).locator("svg path").count() > 3
    for section in report.tab.locator("section").all():
        assert section.is_visible() and section.bounding_box()["height"] > 150


def test_the_button_turns_the_page_dark_and_back(report: Watched) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = report.tab.evaluate(background)
    report.tab.click("#theme")
    report.tab.wait_for_function(DRAWN.format("dark"))
    assert report.tab.evaluate(background) != light
    assert report.tab.locator("div.chart svg").count() == 16
    report.tab.click("#theme")
    report.tab.wait_for_function(DRAWN.format("light"))
    assert report.tab.evaluate(background) == light


def test_images_are_leafed_through_by_buttons_keys_and_thumbnails(report: Watched) -> None:
    tab = report.tab
    slides = tab.locator("#images .slides")
    names = [step.get_attribute("data-name") for step in slides.locator(".steps").all()]
    assert len(names) == len(set(names)) == 4

    def shown() -> str:
        (visible,) = [step for step in slides.locator(".steps").all() if step.is_visible()]
        assert all(image.evaluate("image => image.naturalWidth > 50") for image in visible.locator("img").all())
        name = visible.get_attribute("data-name")
        assert slides.locator(".name").inner_text() == name
        return str(name)

    assert shown() == names[0]
    tab.click("#images .slides .next")
    assert shown() == names[1]
    tab.locator("#images h2").scroll_into_view_if_needed()
    tab.locator("#images h2").click()  # nothing of the album has the focus
    tab.keyboard.press("ArrowRight")
    assert shown() == names[2]
    tab.keyboard.press("ArrowLeft")
    tab.click("#images .slides .previous")
    tab.click("#images .slides .previous")
    assert shown() == names[3]
    slides.locator(".thumbs button").nth(1).click()
    assert shown() == names[1]


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_column_and_no_part_of_the_page_is_out_of_sight(report: Watched, width: int) -> None:
    tab, before = report.tab, report.tab.viewport_size
    tab.set_viewport_size({"width": width, "height": 900})
    try:
        tab.wait_for_function("() => [...document.querySelectorAll('.fit')].every(e => e.scrollWidth <= e.clientWidth)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        cells = tab.locator("td:not(:empty)")
        rights = cells.evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().right)")
        assert len(rights) > 150 and 0 < max(rights) <= width
        labels = "cells => cells.filter(cell => getComputedStyle(cell, '::before').content.includes('on disk')).length"
        assert (cells.evaluate_all(labels) > 20) == (width < 900), "a card names each figure"
        charts = "own => own.map(chart => chart.querySelector('svg').getBoundingClientRect().right)"
        tab.wait_for_function(f"() => Math.max(...({charts})([...document.querySelectorAll('.chart')])) <= {width}")
    finally:
        tab.set_viewport_size(before)


def test_the_pointer_shows_the_details_of_stages_and_of_boxes_in_images(report: Watched) -> None:
    tab = report.tab
    tab.locator('.graph .node[data-name="resize"]').hover()
    assert "Resize the images" in tab.locator("#hint").inner_text()
    assert tab.locator(".graph .edge.near").count() > 0
    shot = tab.locator("#images .steps:not([hidden]) .shot[data-spots*='rank 1,']").last
    shot.scroll_into_view_if_needed()
    x1, y1, x2, y2, text = shot.evaluate("shot => JSON.parse(shot.dataset.spots)[0]")
    place = shot.locator("img").bounding_box()
    tab.mouse.move(place["x"] + (x1 + x2) / 2 * place["width"], place["y"] + (y1 + y2) / 2 * place["height"])
    assert tab.locator("#hint").is_visible() and tab.locator(".frame").count() == 1
    assert "score" in text and "score" in tab.locator("#hint").inner_text()
    tab.mouse.move(1, 1)
    assert not tab.locator("#hint").is_visible()


def test_pictures_are_not_decoded_before_they_are_shown(report: Watched) -> None:
    hidden = report.tab.locator("#training-images .steps[hidden] .shot img")  # which no test leafs through
    sources = hidden.evaluate_all("images => images.map(image => [image.hasAttribute('src'), 'src' in image.dataset])")
    assert sources and all(own == [False, True] for own in sources)


def test_dvcs_own_plots_are_drawn_without_a_network(report: Watched, tiny_run: Project, tmp_path: Path) -> None:
    template = write_plots_page(tiny_run.root)
    assert template.is_file()
    shown = tiny_run.run("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    assert shown.returncode == 0, shown.stderr
    watched = Watched(report.tab.context.browser.new_page())
    watched.tab.goto((tmp_path / "plots/index.html").as_uri())
    drawn = "() => document.querySelectorAll('.vega-embed canvas, .vega-embed svg.marks').length"
    watched.tab.wait_for_function(f"{drawn[6:]} >= 11")
    assert watched.tab.evaluate(drawn) == 11
    assert watched.asked_others() == []
    assert [message for message in watched.messages if message.startswith("error")] == []
    watched.tab.close()
