"""What is drawn and counted of the stages that dense families share, of a family that no room knows by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.artifacts.image_views import Entry
from pipeline.families.registry import family_of
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.drawing import ORANGE, SKY_BLUE, WHITE, Colour
from pipeline.views.inspect.command import inspect_artifact
from pipeline.views.metrics import metrics_of
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from pipeline.views.pictures import picture_of
from pipeline.views.results import results_frame, results_table
from tests.families.dense_scene import CELLS, STRIDES, score_map, write_dense_scene
from tests.families.points_project import visible
from tests.views.scene import WIDTH


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with visible():
        yield write_dense_scene(tmp_path_factory.mktemp("dense") / "project")


def panels(scene: Path, stage: str, name: str, brief: bool = False) -> list[Tile]:
    command = read_declared_graph(scene).commands[stage]
    return panels_of(command, scene, entry_of(command, scene, name), brief=brief)


def at(tile: Tile, level: int, y: int, x: int) -> tuple[int, ...]:
    """The colour where a cell's centre is."""
    zoom = tile.image.shape[1] / WIDTH
    place = ((np.array([y, x]) + 0.5) * STRIDES[level] * zoom).astype(int)
    return tuple(int(value) for value in tile.image[place[0], place[1]])


def dots(tile: Tile, colour: Colour) -> int:
    """How many full circles of a colour there are, of three pixels and more across."""
    found = (tile.image == np.array(colour)).all(axis=2).astype(np.uint8)
    opened = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return int(cv2.connectedComponents(opened)[0]) - 1


def test_each_level_with_targets_has_a_panel_with_its_locations_in_the_colour_of_their_box(scene: Path) -> None:
    every, finest, middle = panels(scene, "points_targets", "a")
    assert every.caption.startswith(
        "a: 5 fg locations (3 on level 0, 2 on level 1) of 2 gt boxes, quality 0.50 to 1.00"
    )
    assert "2 ignored and 119 bg of 126" in every.caption
    assert finest.caption == "level 0, stride 8: 3 fg locations of 1 gt box, 2 ignored of 12 x 8 cells"
    assert middle.caption.startswith("level 1, stride 16: 2 fg locations of 1 gt box, 0 ignored of 6 x 4 cells")
    for tile, level, y, x, colour in (
        (finest, 0, 2, 2, ORANGE),
        (finest, 0, 3, 2, ORANGE),
        (finest, 0, 0, 5, WHITE),
        (middle, 1, 1, 4, SKY_BLUE),
        (every, 1, 2, 4, SKY_BLUE),
        (every, 0, 2, 3, ORANGE),
    ):
        assert at(tile, level, y, x) == colour
    assert at(middle, 0, 2, 2) != ORANGE and at(every, 0, 0, 5) != WHITE
    assert finest.legend[-1].text == "ignored" and len(middle.legend) == 2


def test_locations_of_a_mirror_are_turned(scene: Path) -> None:
    _, finest, _ = panels(scene, "points_targets", "a.mirrored")
    assert at(finest, 0, 2, CELLS[0][1] - 1 - 2) == ORANGE and at(finest, 0, 2, 2) != ORANGE


def test_an_image_without_a_box_shows_what_is_ignored_and_brief_is_one_panel(scene: Path) -> None:
    whole, finest = panels(scene, "points_targets", "c")
    assert whole.caption == "c: 0 fg locations of 0 gt boxes; 2 ignored and 124 bg of 126"
    assert dots(finest, WHITE) == 2
    (brief,) = panels(scene, "points_targets", "a", brief=True)
    assert brief.caption.startswith("a: 5 fg locations")


def test_detection_shows_a_map_a_level_and_the_kinds_of_the_evaluation(scene: Path) -> None:
    *maps, gt, kinds = panels(scene, "detect_points", "t")
    assert [tile.caption for tile in maps] == [
        f"t: level {level}, stride {STRIDES[level]}: the best class score of each of {CELLS[level][1]} x "
        f"{CELLS[level][0]} locations; highest {score_map(level).max():.2f}"
        for level in range(3)
    ]
    assert "1 duplicate, 1 wrong class" in kinds.caption and "kinds of evaluate_points" in kinds.caption
    assert "2 missed" in gt.caption
    assert [tile.caption for tile in panels(scene, "evaluate_points", "t")] == [gt.caption, kinds.caption]
    assert len(panels(scene, "detect_points", "t", brief=True)) == 2


def test_targets_and_maps_of_another_run_are_told(scene: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(scene, root)
    commands = read_declared_graph(root).commands
    # An image that the stage has no targets of, and maps of other levels.
    with pytest.raises(InputError, match=r"points_targets: has other images than .*dvc repro points_targets"):
        panels_of(commands["points_targets"], root, Entry("t"))
    shutil.rmtree(root / "data/detect_points")
    shutil.copytree(root / "data/detect_step4", root / "data/detect_points")
    with pytest.raises(InputError, match=r"detect_points: has maps of 1 level, .* has 3; dvc repro detect_points"):
        panels_of(commands["detect_points"], root, Entry("t"))


def test_figures_and_pictures_of_every_stage_are_there(scene: Path) -> None:
    commands = read_declared_graph(scene).commands
    figures = {name: metrics_of(command, scene) for name, command in commands.items() if name != "backbone"}
    assert figures["points_targets"] == {
        "images": 2.0,
        "fg_locations_per_image": 2.5,
        "fg_per_image_level0": 1.5,
        "fg_per_image_level1": 1.0,
        "fg_per_image_level2": 0.0,
        "ignored_per_image": 2.0,
        "share_without_fg": 0.5,
    }
    assert figures["train_points"]["points_box_last"] == 0.75 and figures["train_points"]["iterations"] == 4
    assert figures["detect_points"]["test_detections_per_image"] == 6
    assert figures["evaluate_points"]["centre_error"] == 0.0625
    captions = {name: picture_of(commands[name], scene) for name in figures}
    assert all(picture is not None and len(picture.data) > 1_000 for picture in captions.values())
    assert "losses; 3 at first" in str(captions["train_points"])


def test_results_are_of_the_present_family_though_folders_of_another_lie_there(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whose family is not asked
    for name in ("step2", "joint"):
        folder = scene / f"data/evaluate_{name}"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(scene / "data/evaluate_points/metrics.json", folder / "metrics.json")
    table = results_frame(scene / "data")
    assert list(table.index) == ["points"] and table.loc["points", "COCO AP"] == 0.25
    assert list(results_frame(scene / "data", family_of("faster_rcnn")).index) == ["step 2 (unshared)", "joint"]
    assert "step 2" not in results_table(scene / "data")


def test_a_figure_that_is_missing_is_told(scene: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(scene, root)
    (root / "data/evaluate_points/metrics.json").write_text('{"mAP50": 0.5}')
    with pytest.raises(InputError, match=r"metrics.json: has no mAP50_11point; dvc repro evaluate_points"):
        results_frame(root / "data")


def test_inspect_tells_and_draws_them(scene: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    inspect_artifact(scene, "points_targets", None, None, 0.5, None, lines.append)
    text = "\n".join(lines)
    assert "by stages/dense_targets.py from --resize data/resize" in text
    assert "fg_locations.parquet: 10 rows" in text and "ignored-*.npz: 1 shard, 4 members" in text
    assert "1 (ellipse) 6, 2 (triangle) 4" in text  # labels by their names
    assert "0  0 6, 1 4" in text  # and how many are on which level
    inspect_artifact(scene, "points_targets", "a", tmp_path / "a.png", 0.5, None, lines.append)
    inspect_artifact(scene, "train_points", None, tmp_path / "losses.png", 0.5, None, lines.append)
    assert all(cv2.imread(str(tmp_path / name)) is not None for name in ("a.png", "losses.png"))
    with pytest.raises(InputError, match=r"no such stage, folder or file; .*the stages are .*points_targets"):
        inspect_artifact(scene, "anchor_targets", None, None, 0.5, None, lines.append)
