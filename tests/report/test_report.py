"""The page on a run: what is in it, that it is whole without a network, and that it tells what is not there."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import pytest
from markupsafe import Markup

from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.report import command
from pipeline.report.command import write_report
from pipeline.report.journeys_section import chosen_images, errors_by_image
from pipeline.report.page import Chart, PageSection, Panel, Shot, Slide, Slides, Table, Text, render
from pipeline.report.run import Run
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Key
from pipeline.views.drawing import Spot
from pipeline.views.encoding import Picture
from tests.conftest import TINY, Project, new_project
from tests.tiny_report import report_on

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that DVC uses

SECTIONS = ["summary", "stages", "data", "training", "proposals", "detections", "training-images", "images"]


class Page(HTMLParser):
    """What a page holds, section by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self.elements: dict[str, Counter[str]] = {}
        self.missing: list[str] = []
        self.specs: list[dict] = []
        self.links: list[str] = []
        self._section = ""
        self._reads_spec = self._is_missing = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self._section = str(given["id"])
            self.text[self._section], self.elements[self._section] = "", Counter()
        if self._section:
            self.elements[self._section][tag] += 1
        self._reads_spec = given.get("type") == "application/json"
        self._is_missing = "missing" in str(given.get("class"))
        self.links += [str(given[name]) for name in ("src", "href") if given.get(name)]

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._section = ""
        self._reads_spec = self._is_missing = False

    def handle_data(self, data: str) -> None:
        if self._reads_spec:
            self.specs.append(json.loads(data))
        elif self._section:
            self.text[self._section] += f"{data} "
            if self._is_missing:
                self.missing.append(data)


@pytest.fixture(scope="module")
def page_file(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_on(tiny_run, tmp_path_factory)


@pytest.fixture(scope="module")
def page(page_file: Path) -> Page:
    return Page(page_file.read_text(encoding="utf-8"))


def test_every_section_is_there_and_none_misses_anything(page: Page) -> None:
    assert list(page.text) == SECTIONS
    assert page.missing == []
    assert all(len(text.split()) > 30 for text in page.text.values())


def test_charts_stand_where_they_should_and_are_valid(page: Page) -> None:
    charts = {name: elements["script"] for name, elements in page.elements.items()}
    assert charts == {
        "summary": 1,
        "stages": 0,
        "data": 3,
        "training": 5,
        "proposals": 2,
        "detections": 5,
        "training-images": 0,
        "images": 0,
    }
    for spec in page.specs:
        alt.Chart.from_dict(spec, validate=True) if "layer" not in spec else alt.LayerChart.from_dict(spec)


def test_iterations_and_counts_have_no_ticks_between_whole_numbers(page: Page) -> None:
    steps = {
        own["axis"]["tickMinStep"]
        for spec in page.specs
        for layer in spec.get("layer", [])
        for own in layer["encoding"].values()
        if isinstance(own, dict) and own.get("title") in ("iteration", "boxes")
    }
    assert steps == {1}


def test_no_figure_is_named_by_the_column_before_it(page: Page) -> None:
    assert "recall, small boxes" in page.text["summary"] and "the same" not in page.text["summary"]


def test_the_boxes_of_a_resized_image_have_their_class_under_the_pointer(page_file: Path) -> None:
    panel = page_file.read_text(encoding="utf-8").split("What the network sees.")[1].split("</figure>")[0]
    assert 'class="alone"' in panel
    assert any(name in panel.split("data-spots=")[1].split(">")[0] for name in ("ellipse", "triangle", "rectangle"))


def test_the_page_asks_for_nothing_outside_of_it(page: Page, page_file: Path) -> None:
    assert page.links and all(link.startswith(("data:image/", "#")) for link in page.links)
    assert "default-src 'none'" in page_file.read_text(encoding="utf-8")


def test_every_stage_stands_in_the_graph_with_its_time(page: Page, tiny_run: Project) -> None:
    for stage in set(tiny_run.lock()) - {"code"}:
        assert len(re.findall(rf"{stage}\b", page.text["stages"])) >= 2
    assert len(re.findall(r"\d s, up to date", page.text["stages"])) == 21
    assert page.elements["stages"]["rect"] == 21 and page.elements["stages"]["path"] >= 19


def test_the_figures_are_those_of_the_metrics(page: Page, tiny_run: Project) -> None:
    for network in ("step2", "step4", "joint"):
        metrics = json.loads((tiny_run.data / f"evaluate_{network}/metrics.json").read_text())
        assert f"{metrics['mAP50']:.3f}" in page.text["summary"]
        assert f"{metrics['proposal_recall50']:.3f}" in page.text["summary"]


def test_errors_by_image_add_up_to_the_metrics(tiny_run: Project) -> None:
    run = Run.read(tiny_run.root)
    for network in ("step2", "step4", "joint"):
        total = sum(errors_by_image(run, network).values(), Counter())
        metrics = json.loads((tiny_run.data / f"evaluate_{network}/metrics.json").read_text())
        assert {kind: count for kind, count in metrics["errors"].items() if count} == dict(total)


def test_the_worst_images_come_first_and_no_image_twice() -> None:
    errors = {f"image{i:02}": Counter(missed=i % 7, correct=i) for i in range(40)}
    chosen = chosen_images(errors, 9)
    assert len(chosen) == len(set(chosen)) == 9
    assert [errors[name]["missed"] for name in chosen[:6]] == [6, 6, 6, 6, 6, 5]
    counts = [errors[name]["missed"] for name in chosen]
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0
    assert chosen_images(errors, 100) == sorted(errors, key=lambda name: (-errors[name]["missed"], name))
    assert chosen_images({"only": Counter()}, 12) == ["only"]


def test_text_of_the_data_ends_no_script_and_is_no_markup() -> None:
    evil = "</script><script>alert(1)</script><b>"
    shot = Shot(Picture(b"", "image/webp", evil), [Key((1, 2, 3), evil)], [Spot((0.0, 0.0, 1.0, 1.0), evil)])
    slides = Slides([Slide(evil, evil, shot.picture, [Panel(evil, [shot])])])
    parts = [Table([evil], [[evil]], "l", {evil: "red"}), Text(evil), Chart({"title": evil}, evil), slides]
    html = render(evil, evil, datetime(2026, 1, 1), [PageSection("a", evil, evil, parts)], Markup(""))
    assert "alert(1)</script" not in html and "<b>" not in html
    assert Page(html).specs == [{"title": evil}]


def test_a_project_where_nothing_ran_gets_a_page_that_says_so(tmp_path: Path) -> None:
    project = new_project(tmp_path / "fresh", TINY)
    project.run("dvc", "init", "--force", "--quiet")
    out = tmp_path / "report.html"
    write_report(project.root, out, 3)
    page = Page(out.read_text(encoding="utf-8"))
    assert list(page.text) == SECTIONS
    assert len(page.missing) >= len(SECTIONS) - 1
    assert "dvc repro" in " ".join(page.missing)
    assert page.text["stages"].count("not made yet") == 42


def test_no_project_and_no_place_for_the_page_end_in_one_line(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"params.yaml: no such file"):
        write_report(tmp_path, tmp_path / "report.html", 3)
    (tmp_path / "taken.html").mkdir()
    monkeypatch.setattr(command, "_section", lambda anchor, title, *_: PageSection(anchor, title, "", []))
    with pytest.raises(InputError, match=r"--out .*taken.html: cannot be written"):
        write_report(tiny_run.root, tmp_path / "taken.html", 1)
    monkeypatch.setattr(command, "_section", None)  # no section is made for a page that has no place
    with pytest.raises(InputError, match=r"--out .*report.html: cannot be written"):
        write_report(tiny_run.root, tmp_path / "no/such/folder/report.html", 1)


def test_the_histogram_of_the_best_iou_holds_every_training_box(page: Page, tiny_run: Project) -> None:
    images = read_columns(tiny_run.data / "resize/images.parquet", RESIZED_IMAGES)
    train = set(images["image_id"][images["split"] == "train"])
    boxes = read_columns(tiny_run.data / "resize/boxes.parquet", RESIZED_BOXES)
    (histogram,) = [spec for spec in page.specs if "bin" in spec.get("layer", [{}])[0].get("encoding", {}).get("x", {})]
    values = [row["iou"] for rows in histogram["datasets"].values() for row in rows if "iou" in row]
    assert len(values) == sum(image_id in train for image_id in boxes["image_id"])
    assert all(0 <= value <= 1 for value in values)
