"""Panels of a stage for an image: boxes and maps where the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.tables import TableWriter, box_columns, read_columns
from pipeline.families.faster_rcnn.panels.proposals import rank_colours
from pipeline.runtime.errors import InputError
from pipeline.views.drawing import GREEN, ORANGE, SKY_BLUE, VERMILLION, WHITE, Colour
from pipeline.views.marks import heat_map
from tests.views.conftest import Drawn

ZOOM = 4.4  # 100 x 80 px drawn with a longer side of 440
Box = tuple[float, float, float, float]


def has_colour(pixels: np.ndarray, *colours: Colour) -> np.ndarray:
    return np.any([(pixels == np.array(colour, np.uint8)).all(axis=-1) for colour in colours], axis=0)


def has_frame(pixels: np.ndarray, box: Box, *colours: Colour, least: float = 0.9) -> bool:
    """Whether lines of these colours lie along the box's left, right and bottom edges, and none 6 px beside them.

    The top edge may lie under a tag.
    """
    x1, y1, x2, y2 = (value * ZOOM for value in box)
    left, right, bottom = int(x1 + 0.01), int(np.ceil(x2 - 0.01)) - 1, int(np.ceil(y2 - 0.01)) - 1
    rows, columns = slice(int(y1) + 30, bottom - 8), slice(left + 8, right - 8)
    mask = has_colour(pixels, *colours)
    lines = [mask[rows, left], mask[rows, right], mask[bottom, columns]]
    beside = [mask[rows, left + 6], mask[rows, right - 6], mask[bottom - 6, columns]]
    return min(line.mean() for line in lines) > least and max(line.mean() for line in beside) < 0.1


def mirrored(box: Box) -> Box:
    return (100 - box[2], box[1], 100 - box[0], box[3])


GT_A = (10, 20, 40, 60)
FG_ROI = (15, 25, 45, 65)
BG_ROI = (60, 40, 95, 75)
IGNORED_ROI = (50, 5, 70, 25)


def test_resized_image_can_be_seen_mirrored(drawn: Drawn) -> None:
    pixels = drawn("resize", "a.mirrored")[0].image
    assert has_frame(pixels, mirrored(GT_A), ORANGE) and not has_frame(pixels, GT_A, ORANGE)
    assert pixels[-20:, -20:].mean() > 240 and pixels[-20:, :20].mean() < 10, "the white patch of a, mirrored"


@pytest.mark.parametrize("name", ["a", "a.mirrored"])
def test_fg_anchors_lie_beside_their_gt_box(drawn: Drawn, name: str) -> None:
    (tile,) = drawn("anchor_targets", name)
    turn = mirrored if name.endswith("mirrored") else tuple
    mask = has_colour(tile.image, ORANGE)
    # Left and right edges of one cross the other, so the free edge of each is enough.
    x1, y1, x2, y2 = (round(value * ZOOM) for value in turn((30, 20, 60, 60)))
    assert mask[y1 + 8 : y2 - 8, x1 if name.endswith("mirrored") else x2 - 1].mean() > 0.9, "the anchor, solid"
    x1, y1, x2, y2 = (round(value * ZOOM) for value in turn(GT_A))
    assert 0.5 < mask[y1 + 8 : y2 - 8, x2 - 1 if name.endswith("mirrored") else x1].mean() < 0.7, "the gt box, dashed"
    assert not mask[: round(20 * ZOOM) - 20].any(), "not trained on: the difficult one"
    counts = "1 fg anchor" if name.endswith("mirrored") else "2 fg anchors"
    assert f"{counts} of 1 gt box, IoU 0.70" in tile.caption and "; 16 bg of 16 anchors" in tile.caption


def test_proposals_of_a_mirror_are_its_own(drawn: Drawn) -> None:
    [first, second], [only] = rank_colours(2), rank_colours(1)
    pixels = drawn("proposals_step1", "a")[-1].image
    assert has_frame(pixels, BG_ROI, first) and has_colour(pixels, second).any()
    pixels = drawn("proposals_step1", "a.mirrored")[-1].image
    assert has_frame(pixels, (5, 5, 45, 35), only) and not has_frame(pixels, BG_ROI, only)


def test_only_the_best_proposals_are_drawn_in_brief(handmade: Path, drawn: Drawn) -> None:
    boxes = np.array([[2, 2, 30, 70]] * 9 + [FG_ROI, BG_ROI], dtype=np.float32)
    with TableWriter(handmade / "data/proposals_step1/proposals.parquet", PROPOSALS) as table:
        own = {"rank": np.arange(11), "score": np.linspace(0.9, 0.1, 11), **box_columns(boxes)}
        table.write({"image_id": "a", "view": 0, **own})
    objectness, best = drawn("proposals_step1", "a")
    assert has_frame(best.image, FG_ROI, rank_colours(10)[9], WHITE)
    assert not has_colour(best.image[:, 300:], *rank_colours(11)).any(), "the eleventh"
    assert "the best 10 of 11 proposals" in best.caption and "no objectness map" in objectness.caption


def test_fg_and_bg_rois_stand_apart(drawn: Drawn) -> None:
    fg, bg = (tile.image for tile in drawn("proposal_targets_step2", "a"))
    # Its deltas are 0: they take it to itself.
    assert has_frame(fg, FG_ROI, ORANGE, SKY_BLUE) and not has_frame(bg, FG_ROI, ORANGE, SKY_BLUE)
    assert has_frame(bg, BG_ROI, ORANGE) and not has_frame(fg, BG_ROI, ORANGE)
    assert has_frame(bg, IGNORED_ROI, GREEN, least=0.3) and not has_frame(bg, IGNORED_ROI, ORANGE)
    assert has_frame(bg, GT_A, WHITE)


def test_detections_are_brought_to_the_resized_image(drawn: Drawn) -> None:
    gt, found = drawn("detect_step4", "t")
    assert has_frame(gt.image, (20, 10, 60, 70), GREEN) and has_frame(found.image, (20, 10, 60, 70), GREEN)
    assert has_colour(found.image, VERMILLION)[:60, round(15 * ZOOM) - 1].mean() > 0.4
    assert not has_frame(found.image, (75, 50, 95, 75), VERMILLION), "its score is low"
    assert "2 of 3 detections" in found.caption and "judged here" in found.caption


def test_heat_map_is_bright_where_the_map_is_high(drawn: Drawn) -> None:
    for name, bright, dark in (("a", 80, 400), ("a.mirrored", 360, 40)):
        image, mean = drawn("features", name)
        assert image.image.shape == mean.image.shape and [key.text for key in mean.legend] == ["0.00", "1.00", "2.00"]
        pixels = mean.image.astype(int)
        assert pixels[300, bright].sum() > pixels[300, dark].sum() + 100
        assert pixels[100, bright].sum() < pixels[300, bright].sum() - 100


def test_heat_map_of_equal_values_is_one_colour() -> None:
    assert len(np.unique(heat_map(np.full((2, 3), 7.0), (20, 30)).reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(
    "stage", ["dataset", "resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features"]
)
def test_image_without_boxes_or_rows_is_drawn(drawn: Drawn, stage: str) -> None:
    assert not any(has_colour(tile.image, ORANGE).any() for tile in drawn(stage, "b"))


def test_one_row_group_is_read_and_no_more(handmade: Path, drawn: Drawn) -> None:
    """All later row groups of the table are damaged, and the picture of the first image does not notice."""
    path = handmade / "data/proposals_step1/proposals.parquet"
    boxes = np.random.default_rng(0).uniform(0, 80, (1000, 4)).astype(np.float32)
    own = {"rank": np.arange(1000), "score": 0.5, **box_columns(boxes)}
    with TableWriter(path, PROPOSALS) as table:
        for image_id in ("a", *(f"b{i:03d}" for i in range(200)), "c"):
            table.write({"image_id": image_id, "view": 0, **own})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_columns(path, PROPOSALS)
    assert drawn("proposals_step1", "a") and drawn("proposals_step1", "c")
