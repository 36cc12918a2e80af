"""Boxes around polygons and masks: equal to pycocotools' and to COCO's own, and no damaged mask is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.datasets.outlines import OutlineError, box_around, mask_size


def _runs(mask: np.ndarray) -> list[int]:
    """Lengths of runs down each column, background first, as COCO lists them."""
    pixels = np.concatenate([[0], mask.ravel(order="F"), [0]])
    edges = np.flatnonzero(np.diff(pixels))
    runs = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return runs if runs[-1] else runs[:-1]


@pytest.mark.parametrize("seed", range(12))
def test_a_masks_box_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2).tolist()
    mask = (rng.random((height, width)) < rng.choice([0.02, 0.3, 0.98])).astype(np.uint8)
    packed = coco_mask.encode(np.asfortranarray(mask))
    size = [height, width]
    expected = coco_mask.toBbox(packed).tolist()
    text, listed = packed["counts"].decode(), _runs(mask)
    assert list(box_around({"size": size, "counts": text})) == expected
    assert list(box_around({"size": size, "counts": listed})) == expected
    assert coco_mask.frPyObjects({"size": size, "counts": listed}, height, width)["counts"] == packed["counts"]
    assert mask_size({"size": size, "counts": text}) == (width, height)


def test_a_long_mask_has_counts_of_several_characters() -> None:
    mask = np.zeros((3000, 2000), np.uint8, order="F")
    mask[1000:2500, 7:1900] = 1
    packed = coco_mask.encode(mask)
    counts = packed["counts"].decode()
    assert list(box_around({"size": [3000, 2000], "counts": counts})) == coco_mask.toBbox(packed).tolist()


@pytest.mark.parametrize(
    "polygons",
    [
        [[10, 20, 60, 20, 60.5, 60]],
        [10, 20, 60, 20, 60.5, 60],
        [[10, 20], [60, 20], [60.5, 60]],
        [[[10, 20], [60, 20], [60.5, 60]]],
        [[10, 30, 60, 30, 60, 60], [12, 20, 60.5, 20, 30, 40], [0, 0, 99, 99]],
    ],
)
def test_the_box_around_polygons_of_any_nesting(polygons: Any) -> None:
    assert box_around(polygons) == (10, 20, 50.5, 40)


@pytest.mark.parametrize(
    ("outline", "why"),
    [
        ([[1, 2, 3, 4]], "no polygon of three points"),
        ([], "no polygon of three points"),
        ("polygon", "no polygon of three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "something other than numbers"),
        ({"counts": [1, 2]}, "no size"),
        ({"size": [0, 5], "counts": []}, "no size"),
        ({"size": [1, 5], "counts": [1, 2]}, "counts 3 pixels of 5 x 1"),
        ({"size": [1, 5], "counts": [1, -1, 5]}, "no counts"),
        ({"size": [1, 5], "counts": None}, "no counts"),
        ({"size": [1, 5], "counts": "~"}, "not text as COCO's tools write it"),
        ({"size": [1, 5], "counts": "o" * 30}, "not text as COCO's tools write it"),
        ({"size": [1, 5], "counts": "1o"}, "cut off"),
    ],
)
def test_what_is_no_outline_says_why(outline: Any, why: str) -> None:
    with pytest.raises(OutlineError, match=why):
        box_around(outline)


def test_boxes_of_cocos_own_polygons_are_its_own_boxes_and_those_of_crowds_pycocotools(shared: Path) -> None:
    polygons = crowds = 0
    for path in sorted((shared / "data/tinycoco/annotations").glob("instances_*.json")):
        for annotation in json.loads(path.read_text())["annotations"]:
            outline = annotation["segmentation"]
            box = box_around(outline)
            if isinstance(outline, list):
                polygons += 1
                assert np.allclose(box, annotation["bbox"], atol=0.02)  # COCO rounds to hundredths
            else:
                crowds += 1
                assert list(box) == coco_mask.toBbox(coco_mask.frPyObjects(outline, *outline["size"])).tolist()
    assert polygons > 400 and crowds >= 5
