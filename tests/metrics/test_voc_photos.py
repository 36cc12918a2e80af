"""Our figures on real photos against the devkit's own terms: XML read apart, inclusive pixels, plain loops."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.metrics.voc_ap import voc_ap
from tests.datasets.policies import policy
from tests.metrics.test_voc_ap import Box, detections_of, devkit, ground_truth_of

pytestmark = pytest.mark.authority("the VOC devkit")

DevkitBox = tuple[int, str, bool, Box]


def devkit_boxes(root: Path, ids: list[str]) -> list[DevkitBox]:
    """(image, class, difficult, inclusive box) as the XML has them."""
    boxes = []
    for image, name in enumerate(ids):
        for thing in ElementTree.parse(root / "Annotations" / f"{name}.xml").iter("object"):
            corners = [float(thing.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")]
            boxes.append((image, thing.findtext("name", ""), thing.findtext("difficult") == "1", tuple(corners)))
    return boxes  # type: ignore[return-value]


def devkit_map(found: list[tuple[int, str, float, Box]], truth: list[DevkitBox], classes: list[str]) -> float:
    """Mean all-point AP at IoU .5 over inclusive boxes, each class alone."""
    index = {name: i for i, name in enumerate(classes)}
    detections = [(image, index[name], score, box) for image, name, score, box in found]
    boxes = [(image, index[name], difficult, box) for image, name, difficult, box in truth]
    return float(np.mean([devkit(detections, boxes, label, 0.5, 1)[0] for label in range(len(classes))]))


def jittered(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each box about where it was, most above IoU .5; whole pixels, which both conventions hold exactly."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = np.rint(boxes + sides * rng.normal(0, 0.12, boxes.shape))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 2)
    return moved


def test_map_on_the_test_photos_is_that_of_the_devkits_loops_over_the_xml(shared: Path) -> None:
    root = shared / "data/voc6_mini"
    dataset = validate(read_voc(root, {"train": ["train"], "test": ["test"]}, None), policy())
    images = [image for image in dataset.images if image.split == "test"]
    rng, ours, theirs = np.random.default_rng(0), [], []
    for index, image in enumerate(images):
        for box, label in zip(np.repeat(image.boxes, 3, axis=0), np.repeat(image.labels, 3), strict=True):
            x1, y1, x2, y2 = jittered(box[None], rng)[0]
            label = int(label) if rng.random() < 0.8 else int(rng.integers(1, len(dataset.classes) + 1))
            score = float(np.float32(rng.random()))
            ours.append((index, label, score, (x1, y1, x2, y2)))
            theirs.append((index, dataset.classes[label - 1], score, (x1 + 1, y1 + 1, x2, y2)))
    boxes = [
        (index, int(label), bool(difficult), tuple(box))
        for index, image in enumerate(images)
        for box, label, difficult in zip(image.boxes, image.labels, image.difficult, strict=True)
    ]
    assert len(images) == 202 and sum(difficult for _, _, difficult, _ in boxes) > 0
    result = voc_ap(detections_of(ours), ground_truth_of(boxes), len(dataset.classes) + 1)  # type: ignore[arg-type]
    expected = devkit_map(theirs, devkit_boxes(root, [image.image_id for image in images]), list(dataset.classes))
    assert 0.2 < expected < 0.9
    assert result.mean_all_point == pytest.approx(expected, abs=1e-6)
