"""What is drawn of an image, and what becomes of its boxes: laws of both, the distribution, and one golden draw."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from pipeline.augment.draw import Draw
from pipeline.augment.drawing import draw, generators
from pipeline.augment.light import PLAIN
from pipeline.augment.window import Rectangle, Window, centres_inside, clipped, flipped
from pipeline.dense.assignment import Truth
from pipeline.dense.drawn import seen_truth
from pipeline.params.augment import AugmentParams

SSD: dict[str, Any] = {
    "photometric": {
        "probability": 0.5,
        "brightness": 32.0,
        "contrast": [0.5, 1.5],
        "saturation": [0.5, 1.5],
        "hue": 18.0,
    },
    "expand": {"probability": 0.5, "largest": 4.0, "colour": [123, 117, 104]},
    "crop": {
        "min_iou": ["whole", 0.1, 0.3, 0.5, 0.7, 0.9, "any"],
        "side": [0.3, 1.0],
        "ratio": [0.5, 2.0],
        "trials": 50,
    },
    "flip": 0.5,
}
NO_BOX = np.zeros((0, 4))
SIZE = (300, 300)


def params(**changes: Any) -> AugmentParams:
    return AugmentParams.model_validate({**SSD, **changes})


def without(*parts: str) -> AugmentParams:
    """SSD's, with parts switched off."""
    off: dict[str, Any] = {
        "photometric": {**SSD["photometric"], "probability": 0.0},
        "expand": {**SSD["expand"], "probability": 0.0},
        "crop": {**SSD["crop"], "min_iou": ["whole"]},
        "flip": 0.0,
    }
    return params(**{part: off[part] for part in parts})


def drawn(own: AugmentParams, source: tuple[int, int], boxes: np.ndarray, epoch: int = 0, image: str = "a") -> Draw:
    return draw(own, source, boxes, generators(0, "ssd_targets", epoch, image))


@st.composite
def images(picked: st.DrawFn) -> tuple[tuple[int, int], np.ndarray]:
    """(H, W) and boxes on the grid of 1/64 px, in the image."""
    high, wide = (picked(st.integers(1, 500)) for _ in range(2))
    boxes = []
    for _ in range(picked(st.integers(0, 4))):
        x, y = (sorted(picked(st.tuples(*[st.integers(0, 64 * side)] * 2))) for side in (wide, high))
        if x[0] < x[1] and y[0] < y[1]:
            boxes.append((x[0] / 64, y[0] / 64, x[1] / 64, y[1] / 64))
    return (high, wide), np.array(boxes).reshape(-1, 4)


def truth(boxes: np.ndarray, regions: np.ndarray = NO_BOX) -> Truth:
    """Box n is of class n."""
    return Truth(boxes.astype(np.float32), np.arange(1, len(boxes) + 1), regions.astype(np.float32))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(images(), st.integers(0, 10_000))
def test_boxes_that_are_known_lie_in_the_view_and_their_centres_are_seen(
    image: tuple[tuple[int, int], np.ndarray], epoch: int
) -> None:
    source, boxes = image
    own = drawn(params(), source, boxes, epoch)
    shown, regions = own.window.shown, boxes
    high, wide = shown.size
    assert high >= 1 and wide >= 1 and own.expand >= 1
    seen = seen_truth(truth(boxes, regions), own.window, source)
    for found in (seen.boxes, seen.regions):
        assert (found[:, :2] >= 0).all() and (found[:, 2:] <= [source[1], source[0]]).all()
        assert (found[:, 2:] > found[:, :2]).all()
    inside = centres_inside(boxes, np.array([shown]))[0]
    assert set(seen.labels) <= set(np.flatnonzero(inside) + 1)
    large = ((boxes[:, 2:] - boxes[:, :2]) * [source[1] / wide, source[0] / high] >= 1).all(axis=1)
    assert set(np.flatnonzero(inside & large) + 1) <= set(seen.labels)
    if own.min_iou != "whole":
        assert inside.any()
        iou = box_iou(torch.from_numpy(boxes[inside]), torch.tensor([shown], dtype=torch.float64))
        assert own.min_iou == "any" or float(iou.max()) >= float(own.min_iou) - 1e-12
    else:
        assert own.window.of_image == (0, 0, *source[::-1])


@settings(derandomize=True, deadline=None, max_examples=50)
@given(images(), st.integers(0, 10_000))
def test_a_part_has_its_share_and_its_ratio(image: tuple[tuple[int, int], np.ndarray], epoch: int) -> None:
    """To whole pixels of the canvas."""
    source, boxes = image
    own = drawn(without("photometric"), source, boxes, epoch)
    if own.min_iou == "whole":
        return
    (high, wide), canvas = own.window.shown.size, [own.expand * side for side in source]
    shares = [(high - 1) / canvas[0], (high + 1) / (canvas[0] - 1) if canvas[0] > 1 else np.inf]
    of_width = [(wide - 1) / canvas[1], (wide + 1) / (canvas[1] - 1) if canvas[1] > 1 else np.inf]
    assert shares[0] * of_width[0] <= 1 and shares[1] * of_width[1] >= 0.09
    assert of_width[0] / max(shares[1], 1e-9) <= 2 and (shares[0] <= 0 or of_width[1] / shares[0] >= 0.5)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(images(), st.integers(0, 10_000))
def test_a_view_mirrored_twice_is_itself_and_mirrored_once_has_mirrored_boxes(
    image: tuple[tuple[int, int], np.ndarray], epoch: int
) -> None:
    source, boxes = image
    own = drawn(params(), source, boxes, epoch).window
    plain, turned = (Window(source, own.shown, flip).seen(boxes, SIZE) for flip in (False, True))
    assert (flipped(turned, SIZE[1]) == plain).all() and (flipped(plain, SIZE[1]) == turned).all()
    assert (clipped(turned, SIZE) == flipped(clipped(plain, SIZE), SIZE[1])).all()
    labels = [seen_truth(truth(boxes), Window(source, own.shown, flip), source).labels for flip in (False, True)]
    assert labels[0].tolist() == labels[1].tolist()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(images(), st.integers(0, 10_000))
def test_an_image_on_a_canvas_cropped_back_is_the_image(image: tuple[tuple[int, int], np.ndarray], epoch: int) -> None:
    """And on the canvas boxes are smaller by the same share as the image is."""
    source, boxes = image
    own = drawn(without("photometric", "crop", "flip"), source, boxes, epoch)
    assert own.window.of_image == (0, 0, *source[::-1]) and own.min_iou == "whole"
    whole = Rectangle(0, 0, source[1], source[0])
    on_canvas = own.window.seen(np.array([whole]), source)[0]
    back = Window(source, whole).seen(boxes, source)
    assert (back == boxes).all()
    share = np.prod(on_canvas[2:] - on_canvas[:2]) / np.prod(source)
    assert share == pytest.approx(1 / np.prod(own.window.shown.size) * np.prod(source), rel=0.1, abs=0.02)


def test_areas_shrink_and_grow_with_what_is_shown() -> None:
    window = Window((100, 200), Rectangle(-50, -20, 350, 180))
    assert not window.is_inside and window.of_image == (0, 0, 200, 100)
    assert window.seen(np.array([[0.0, 0, 200, 100]]), (100, 200)).tolist() == [[25, 10, 125, 60]]
    part = Window((100, 200), Rectangle(50, 20, 150, 70))
    assert part.is_inside and part.of_image == part.shown
    assert part.seen(np.array([[60.0, 30, 160, 80]]), (100, 200)).tolist() == [[20, 20, 220, 120]]


def test_a_box_whose_centre_is_outside_or_on_the_edge_is_not_known_and_the_others_are_clipped() -> None:
    """Also on the lower and right edge; of regions all that is seen is known."""
    boxes = np.array([[0, 0, 40, 40], [30, 30, 70, 70], [41, 41, 61, 61]], np.float32)
    seen = seen_truth(truth(boxes, boxes), Window((100, 100), Rectangle(20, 20, 51, 60)), (100, 100))
    assert seen.labels.tolist() == [2] and len(seen.regions) == 3
    np.testing.assert_allclose(seen.boxes, [[10 / 0.31, 25, 100, 100]], atol=1 / 128)


def test_an_image_without_gt_boxes_is_seen_whole_but_for_its_canvas() -> None:
    for epoch in range(30):
        own = drawn(without("expand"), (40, 60), NO_BOX, epoch)
        assert (own.window.shown, own.min_iou) == ((0, 0, 60, 40), "whole")


def test_a_part_that_is_switched_off_changes_none_of_the_others() -> None:
    boxes = np.array([[10.0, 10, 60, 50]])
    for epoch in range(20):
        every = drawn(params(), (80, 100), boxes, epoch)
        assert drawn(without("photometric"), (80, 100), boxes, epoch).window == every.window
        assert drawn(without("photometric"), (80, 100), boxes, epoch).light[:4] == PLAIN[:4]
        assert drawn(without("flip"), (80, 100), boxes, epoch).window.shown == every.window.shown
        assert drawn(without("crop"), (80, 100), boxes, epoch).expand == every.expand
        assert drawn(without("expand", "crop"), (80, 100), boxes, epoch).light == every.light


def test_draws_differ_by_epoch_and_image_and_not_by_order() -> None:
    boxes = np.array([[10.0, 10, 60, 50]])
    forwards = [drawn(params(), (80, 100), boxes, epoch, image) for epoch in range(4) for image in "ab"]
    backwards = [drawn(params(), (80, 100), boxes, epoch, image) for epoch in reversed(range(4)) for image in "ba"]
    assert forwards == backwards[::-1] and len(set(forwards)) == 8


def test_how_often_each_part_is_drawn() -> None:
    """Of rules that can be met each is as likely; bounds are four standard errors wide."""
    boxes, count = np.array([[0.0, 0, 100, 80]]), 500
    own = [drawn(params(), (80, 100), boxes, epoch) for epoch in range(count)]
    for share, wanted in (
        (np.mean([one.window.flip for one in own]), 0.5),
        (np.mean([one.expand > 1 for one in own]), 0.5),
        (np.mean([one.light.brightness != 0 for one in own]), 0.5),
        (np.mean([one.light.contrast_first for one in own]), 0.5),
        (np.mean([one.light.hue != 0 for one in own]), 0.5),
    ):
        assert abs(share - wanted) < 4 * 0.5 / count**0.5
    flat = [drawn(without("expand"), (80, 100), boxes, epoch) for epoch in range(count)]
    rules = [one.min_iou for one in flat if one.min_iou not in ("0.7", "0.9")]
    for rule in ("whole", "0.1", "0.3", "any"):
        assert abs(rules.count(rule) / count - 1 / 7) < 4 * (6 / 49 / count) ** 0.5 + 0.02
    assert max(one.expand for one in own) > 3.6 and all(1 <= one.expand < 4 for one in own)
    hues = np.array([one.light.hue for one in own if one.light.hue])
    assert -18 <= hues.min() < -15 and 15 < hues.max() <= 18


def test_boxes_of_a_crop_are_those_that_torchvision_gives() -> None:
    """RandomIoUCrop keeps boxes by the same rule of their centres; its crop and resize move them likewise."""
    boxes, source = (
        np.array([[10, 20, 60, 80], [0, 0, 30, 30], [70, 50, 99, 79], [40, 10, 90, 70]], np.float32),
        (80, 100),
    )
    for epoch in range(25):
        window = drawn(without("expand", "photometric", "flip"), source, boxes, epoch).window
        (high, wide), shown = window.shown.size, window.shown
        tensor = BoundingBoxes(torch.from_numpy(boxes), format=BoundingBoxFormat.XYXY, canvas_size=source)
        moved = v2.functional.crop(tensor, shown.y1, shown.x1, high, wide)
        moved = v2.functional.resize(v2.functional.clamp_bounding_boxes(moved), list(SIZE))
        cx, cy = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        keep = (shown.x1 < cx) & (cx < shown.x2) & (shown.y1 < cy) & (cy < shown.y2)
        seen = clipped(window.seen(boxes, SIZE), SIZE)
        assert (centres_inside(boxes, np.array([shown]))[0] == keep).all()
        np.testing.assert_allclose(seen[keep], moved.numpy()[keep], atol=0.02)


def test_one_draw_is_as_it_was() -> None:
    """A golden digest of windows, of 8 epochs: what resumed runs and stored targets rely on."""
    boxes = np.array([[48.0, 240, 195, 371], [8, 12, 352, 498]], np.float32)
    own = [drawn(params(), (500, 353), boxes, epoch, "2007_000001") for epoch in range(8)]
    text = "\n".join(f"{one.window.shown} {one.window.flip} {one.expand:.6f} {one.min_iou}" for one in own)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "313d3ea0bb564d24", text
