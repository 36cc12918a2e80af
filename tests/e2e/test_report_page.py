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
    slides.focus()
    tab.keyboard.press("ArrowRight")
    assert shown() == names[2]
    tab.keyboard.press("ArrowLeft")
    tab.click("#images .slides .previous")
    tab.click("#images .slides .previous")
    assert shown() == names[3]
    slides.locator(".thumbs button").nth(1).click()
    assert shown() == names[1]


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
