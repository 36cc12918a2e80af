"""Panels of `frcnn inspect`: equal to the golden pictures, boxes where the tables say, every stage, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from pipeline.artifacts.image_views import Entry
from pipeline.building.anchors import anchor_grid
from pipeline.families.faster_rcnn.panels.proposals import rank_colours
from pipeline.params.file import load_params
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.drawing import GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION, WHITE, YELLOW, Colour
from pipeline.views.marks import heat_over
from pipeline.views.panels.anchors import out_text
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.judged import judged_detections
from pipeline.views.panels.maps import location_maps
from pipeline.views.panels.registry import panels_of
from pipeline.views.panels.request import PanelRequest
from tests.layouts import one_level
from tests.views.regenerate import GOLDEN, SHOWN, sheet
from tests.views.scene import DETECTIONS, GT, HEIGHT, PROPOSALS, STRIDE, WIDTH, anchors, gt_boxes, turned, write_scene

if TYPE_CHECKING:
    from tests.conftest import Project

ROOT = Path(__file__).parents[2]
Panels = Callable[..., list[Tile]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def panels(scene: Path) -> Panels:
    """The panels of a stage of the scene for an image."""
    graph = read_declared_graph(scene)

    def make(stage: str, name: str, score: float = 0.5) -> list[Tile]:
        command = graph.commands[stage]
        return panels_of(command, scene, entry_of(command, scene, name), score=score, graph=graph)

    return make


@pytest.mark.parametrize("stage", SHOWN)
def test_picture_is_the_golden_one(scene: Path, stage: str) -> None:
    golden = cv2.imread(str(GOLDEN / f"{stage}.png"), cv2.IMREAD_COLOR_RGB)
    drawn = sheet(scene, stage)
    assert drawn.shape == golden.shape
    # Processors may round a resized pixel differently.
    off = np.abs(drawn.astype(int) - golden).max(axis=2)
    assert off.max() <= 3, f"{(off > 3).sum()} px differ; look, and if it is meant: python -m tests.views.regenerate"


def test_golden_pictures_are_small_and_all_are_compared() -> None:
    files = list(GOLDEN.iterdir())
    assert {path.stem for path in files} == set(SHOWN)
    assert sum(path.stat().st_size for path in files) < 200_000


def on_edges(image: np.ndarray, box: np.ndarray, colour: Colour, size: tuple[float, float] = (WIDTH, HEIGHT)) -> float:
    """The least share, over the four edges, of pixels in the colour; about .43 of a dotted line, 1 of a solid one.

    The outer tenths are left out, which tags may cover; so are edges at the image's border.
    """
    mask = (image == np.array(colour, np.uint8)).all(axis=2)
    zoom = np.array([image.shape[1] / size[0], image.shape[0] / size[1]] * 2)
    x1, y1, x2, y2 = np.array(box) * zoom
    left, top, right, bottom = (int(v) for v in (x1 + 1e-3, y1 + 1e-3, np.ceil(x2 - 1e-3) - 1, np.ceil(y2 - 1e-3) - 1))
    rows = slice(top + (bottom - top) // 10, bottom - (bottom - top) // 10)
    columns = slice(left + (right - left) // 10, right - (right - left) // 10)
    return float(min(mask[rows, left].mean(), mask[rows, right].mean(), mask[bottom, columns].mean()))


@pytest.mark.parametrize("name", ["a", "a.mirrored"])
def test_gt_boxes_lie_where_the_table_says(panels: Panels, name: str) -> None:
    (tile,) = panels("resize", name)
    boxes = np.array([row[:4] for row in GT["a"]], np.float32)
    boxes = turned(boxes) if "mirrored" in name else boxes
    assert on_edges(tile.image, boxes[0], ORANGE) > 0.95
    assert on_edges(tile.image, boxes[1], SKY_BLUE) > 0.95
    assert 0.3 < on_edges(tile.image, boxes[2], ORANGE) < 0.9, "difficult: dashed"
    assert on_edges(tile.image, boxes[0] + 2, ORANGE) < 0.2
    (original,) = panels("dataset", "a")
    assert "1 difficult" in original.caption
    assert on_edges(original.image, np.array(GT["a"][0][:4]) * 2, ORANGE, (2 * WIDTH, 2 * HEIGHT)) > 0.95


def test_regions_and_crowds_are_dotted(panels: Panels) -> None:
    (tile,) = panels("resize", "c")
    assert {key.mark for key in tile.legend} >= {"dotted"}
    assert 0.25 < on_edges(tile.image, np.array(GT["c"][1][:4]), SKY_BLUE) < 0.6


def test_proposals_lie_where_the_table_says(panels: Panels) -> None:
    heat, ten = panels("proposals_step3", "a")
    assert "objectness" in heat.caption
    assert on_edges(ten.image, gt_boxes("a")[0], WHITE) > 0.5
    for rank in (1, 2, 3):  # others share an edge with a gt box or with the image
        assert on_edges(ten.image, PROPOSALS[rank], rank_colours(6)[rank]) > 0.5
    assert "recall at IoU .5: 1.00 (2 of 2)" in ten.caption


def test_map_of_a_mirror_without_its_own_is_turned(scene: Path, panels: Panels) -> None:
    folder = scene / "data/proposals_step3"
    plain, mirrored = (location_maps(folder, Entry("a", flag)) for flag in (False, True))
    assert plain is not None and mirrored is not None
    assert (mirrored.values[0] == plain.values[0][:, ::-1]).all() and "mirrored" in mirrored.note
    over = heat_over(np.full((HEIGHT, WIDTH, 3), 100, np.uint8), plain.values[0], WIDTH, 0, 1)
    assert (over[:STRIDE, :STRIDE] == over[0, 0]).all() and (over[0, 0] != over[0, STRIDE]).any()
    assert "no objectness map" in panels("proposals_step1", "a")[0].caption


def test_anchors_are_the_detectors(scene: Path) -> None:
    params = load_params(scene / "params.yaml", ["anchors"])
    expected = anchor_grid(params.anchors, one_level(STRIDE))([(HEIGHT // STRIDE, WIDTH // STRIDE)])
    assert torch.equal(torch.from_numpy(anchors()), expected)


def test_anchors_of_one_location_are_seen_whole(panels: Panels) -> None:
    tile = panels("anchor_targets", "a")[1]
    assert "the 6 anchors of location (68, 36)" in tile.caption or "the 6 anchors of location (76, 36)" in tile.caption
    colours = {key.text: key.colour for key in tile.legend}
    border = (tile.image == np.array(WHITE, np.uint8)).all(axis=2)
    ys, xs = np.nonzero(border)
    zoom = (xs.max() + 1 - xs.min()) / WIDTH
    mask = (tile.image == np.array(colours["height / width 1"], np.uint8)).all(axis=2)
    ys, xs = np.nonzero(mask)
    assert (xs.max() + 1 - xs.min()) / zoom == pytest.approx(32, abs=1), "the larger square one"
    assert (ys.max() + 1 - ys.min()) / zoom == pytest.approx(32, abs=1)


def test_counts_of_anchors_add_up(panels: Panels) -> None:
    tiles = panels("anchor_targets", "a")
    counts = [int(tile.caption.split(": ")[1].split(" ")[0].replace(",", "")) for tile in tiles[3:]]
    assert sum(counts) == len(anchors()) and counts[0] > 0
    boxes = anchors()
    out = (boxes < 0).any(axis=1) | (boxes[:, 2:] > [WIDTH, HEIGHT]).any(axis=1)
    (ignored,) = (tile.caption for tile in tiles if tile.caption.startswith("ignored"))
    assert 0 < out.sum() < len(boxes)
    assert f"({out_text(int(out.sum()))})" in ignored


def test_deltas_lead_to_the_gt_boxes(panels: Panels) -> None:
    for name in ("a", "a.mirrored"):
        fg, _, pooled = panels("proposal_targets_step4", name)
        for box in gt_boxes("a", name.endswith("mirrored")):
            assert 0.3 < on_edges(fg.image, box, SKY_BLUE) < 0.9, "the dashed target on its gt box"
        boxes = turned(PROPOSALS) if name.endswith("mirrored") else PROPOSALS
        assert on_edges(fg.image, boxes[1], ORANGE) > 0.5
        assert "7 x 7 of 16 channels" in pooled.caption
    assert len(panels("proposal_targets_step2", "a")) == 2, "step 2 reads no cached maps"


@pytest.mark.parametrize(
    ("row", "colour", "least"),
    [(1, SKY_BLUE, 0.4), (2, PURPLE, 0.4), (3, ORANGE, 0.25), (4, VERMILLION, 0.6), (0, GREEN, 0.3)],
)
def test_detections_lie_where_the_table_says_in_the_colour_of_their_kind(
    panels: Panels, row: int, colour: Colour, least: float
) -> None:
    for stage in ("detect_step4", "evaluate_step4"):
        tile = panels(stage, "t")[-1]
        assert on_edges(tile.image, np.array(DETECTIONS[row][0]), colour) > least
        assert "kinds of evaluate_step4" in tile.caption


def test_score_says_what_is_shown_and_what_is_missed(panels: Panels) -> None:
    few, all_of_them = (panels("evaluate_step4", "t", score) for score in (0.5, 0.1))
    assert "5 of 6 detections" in few[1].caption and "2 missed at score 0.5" in few[0].caption
    assert "6 of 6 detections" in all_of_them[1].caption and "1 missed at score 0.1" in all_of_them[0].caption
    assert 0.4 < on_edges(few[0].image, np.array(GT["t"][1][:4]), YELLOW) < 0.9
    assert on_edges(all_of_them[0].image, np.array(GT["t"][1][:4]), YELLOW) < 0.2


def test_kinds_judged_here_are_those_of_the_evaluation(tiny_run: Project) -> None:
    graph = read_declared_graph(tiny_run.root)
    stored = graph.commands["detect_step4"]
    without = type(graph)({"detect_step4": stored}, {})
    shown = 0
    for place in range(6):
        entry = Entry(f"test_{place:05d}")
        params = load_params(tiny_run.root / "params.yaml")
        found, here = (
            judged_detections(PanelRequest(stored, tiny_run.root, entry, 0.5, own, params)) for own in (graph, without)
        )
        assert (found.source, here.source) == ("kinds of evaluate_step4", "judged here")
        assert (found.kind == here.kind).all() and (found.gt_index == here.gt_index).all()
        np.testing.assert_allclose(found.iou, here.iou, atol=1e-6)
        shown += len(found.kind)
    assert shown > 20


@pytest.mark.parametrize(
    "stage",
    [
        "dataset",
        "resize",
        "anchor_targets",
        "features",
        "proposals_step1",
        "proposals_step3",
        "proposal_targets_step2",
        "proposal_targets_step4",
        "detect_step2",
        "detect_joint",
        "evaluate_step4",
    ],
)
def test_every_stage_of_a_run_is_drawn(tiny_run: Project, stage: str) -> None:
    command = read_declared_graph(tiny_run.root).commands[stage]
    held_out = stage.startswith(("detect", "evaluate"))
    names = ["test_00000"] if held_out else ["train_00000", "train_00001"]
    names += [] if held_out or stage == "dataset" else ["train_00001.mirrored"]
    for name in names:
        tiles = panels_of(command, tiny_run.root, entry_of(command, tiny_run.root, name), score=0.0)
        assert all(tile.image.dtype == np.uint8 and tile.caption and min(tile.image.shape) >= 3 for tile in tiles)


_WITHOUT_TORCH = """
import sys
from pathlib import Path
from pipeline.views.inspect.command import inspect_artifact
for stage, image in [("anchor_targets", None), ("anchor_targets", "a"), ("proposal_targets_step4", "a"),
                     ("detect_step4", "t"), ("evaluate_step4", "t")]:
    inspect_artifact(Path(), stage, image, None, 0.5, None, print)
    assert image or "cv2" not in sys.modules, "the text needs no pictures"
for name in ("torch", "torchvision", "altair", "stages"):
    assert name not in sys.modules, name
"""


def test_no_torch_is_imported(scene: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH], cwd=scene, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert (scene / "inspect-detect_step4-t.png").read_bytes().startswith(b"\x89PNG")


def test_one_anchor_sticks_out_and_two_stick_out() -> None:
    assert [out_text(count) for count in (0, 1, 2)] == ["0 stick out", "1 sticks out", "2 stick out"]
