"""The page on a run of a family without a part of its own for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.report.command import write_report
from pipeline.report.detections_section import summary_section
from pipeline.report.page import Table
from pipeline.report.run import Run
from tests.families.dense_scene import write_dense_scene
from tests.families.points_project import visible
from tests.report.test_report import Page

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that DVC uses


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    root = tmp_path_factory.mktemp("report") / "shapes"
    with visible():
        write_dense_scene(root)
        Repo.init(str(root), no_scm=True).close()
        # In place of Vega, whose bundling takes a second and a half; no test opens the page.
        (root / ".dvc/tmp").mkdir(exist_ok=True)
        (root / f".dvc/tmp/vega-{version('vl-convert-python')}.js").write_text("")
        write_report(root, root / "report.html", 2)
        text = (root / "report.html").read_text(encoding="utf-8")
        yield Page(text), text


def test_every_section_but_those_of_other_families_is_there(page: tuple[Page, str]) -> None:
    sections = page[0].text
    assert list(sections) == ["summary", "stages", "data", "training", "detections", "training-images", "images"]
    assert page[0].missing == []
    assert "<title>Points: shapes</title>" in page[1]


def test_nothing_is_said_of_another_familys_parts_and_folders(page: tuple[Page, str]) -> None:
    for name, text in page[0].text.items():
        for word in ("RPN", "anchor", "proposal", "step 1", "step 2", "Step", "step4", "joint", "RoI"):
            assert word not in text, (name, word)


def test_figures_losses_and_sizes_are_of_this_family(page: tuple[Page, str]) -> None:
    sections, specs = page[0].text, page[0].specs
    assert "0.500" in sections["summary"] and "points" in sections["summary"]
    assert "centre error" in sections["summary"] and "0.062" in sections["summary"]  # the family's own
    values = [row for spec in specs for rows in spec.get("datasets", {}).values() for row in rows]
    assert {row["loss"] for row in values if "loss" in row} == {"points_class", "points_box"}
    assert {row["anchor"] for row in values if "anchor" in row} == {f"a cell of stride {own}" for own in (8, 16, 32)}
    assert (
        "strides of 8, 16, 32 px): 0.0% of the boxes have a side shorter than a cell of the finest" in sections["data"]
    )
    for stage in ("points_targets", "train_points", "detect_points", "evaluate_points"):
        assert stage in sections["stages"]
    assert page[0].elements["stages"]["rect"] == 7


def test_images_are_followed_through_the_stages_of_the_graph(page: tuple[Page, str]) -> None:
    shown = page[0].elements
    # Of two training images the resized one and its targets; of the test image the resized one and the detections. Each
    # picture has a small one beside it where there are several images to choose from.
    assert shown["training-images"]["img"] >= 4 and shown["images"]["img"] >= 2
    assert "Assign points to gt boxes." in page[0].text["training-images"]
    assert "Trunk and head trained together." in page[0].text["images"]


def test_figures_of_the_familys_own_are_shown_whether_whole_or_not_there(tmp_path: Path) -> None:
    with visible():
        write_dense_scene(tmp_path)
        Repo.init(str(tmp_path), no_scm=True).close()
        file = tmp_path / "data/evaluate_points/metrics.json"
        own = {"centre_error": None, "boxes_tried": 12345, "share_tried": 0.25}
        file.write_text(json.dumps(json.loads(file.read_text()) | own))
        (table,) = [part for part in summary_section(Run.read(tmp_path)).parts if isinstance(part, Table)]
    shown = dict(zip(table.header, table.rows[0], strict=True))
    assert (shown["centre error"], shown["boxes tried"], shown["share tried"]) == ("none", "12345", "0.250")
    assert "images" not in shown and "detections" not in shown
