"""Which image, class and number each word of a file of detections means, and files that mean none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.datasets.base import AnnotatedImage, Split
from pipeline.judging.coco_file import read_coco_detections
from pipeline.judging.evaluate import curves_of
from pipeline.judging.images import ImageNames
from pipeline.judging.stage_table import read_stage_detections
from pipeline.judging.voc_files import read_voc_detections
from pipeline.metrics.voc_ap import ClassAP, VocAP
from pipeline.runtime.errors import InputError

pytestmark = pytest.mark.authority("figures worked out by hand")

HUGE = 10**400
BOX = [1, 1, 2, 2]


def names_of(*images: tuple[str, str, Split]) -> ImageNames:
    """Of test, by id and path."""
    names, count = ImageNames(), 0
    for image_id, path, split in images:
        none = (np.zeros((0, 4), np.float32), np.zeros(0, np.int16), np.zeros(0, bool), np.zeros(0, bool))
        own = split == "test"
        names.add(AnnotatedImage(image_id, split, f"raw/{path}", 9, 9, *none), count if own else None)
        count += own
    return names


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("images/test/0001.jpg", 0),
        ("images\\test\\0001.jpg", 0),
        ("/home/me/images/test/0001.jpg", 0),
        ("images/test/0001", 0),
        ("images/train/0001.jpg", None),
        ("/home/me/images/train/0001.png", None),
        ("elsewhere/0001.jpg", None),
        ("elsewhere/0003.jpg", None),
        ("elsewhere/0002.jpg", 1),
        ("0001.jpg", 0),
        ("0001", 0),
        ("0003", None),
        ("0004", None),
        ("", None),
    ],
)
def test_images_of_other_splits_are_not_taken_for_those_of_the_split(name: str, place: int | None) -> None:
    names = names_of(
        ("t1", "images/test/0001.jpg", "test"),
        ("t2", "images/test/0002.jpg", "test"),
        ("l1", "images/train/0001.jpg", "train"),
        ("l3", "images/train/0003.jpg", "train"),
    )
    assert names.find(name) == place


@pytest.mark.parametrize(
    ("name", "place"),
    [("images/train/0001.jpg", None), ("/me/images/test/0001.jpg", 0), ("0001.jpg", 0), ("0001", 0), ("0001.png", 0)],
)
def test_where_one_split_is_known_a_folder_counts(name: str, place: int | None) -> None:
    assert names_of(("t1", "images/test/0001.jpg", "test")).find(name) == place


@pytest.mark.parametrize(
    ("name", "place"), [("0001", 0), ("0001.jpg", 0), ("a/0001.jpg", 1), ("a/0001", 1), ("x.v1", 2), ("z", None)]
)
def test_an_exact_id_or_path_is_stronger_than_a_stem(name: str, place: int | None) -> None:
    names = names_of(
        ("0001", "0001.jpg", "test"),
        ("a1", "a/0001.jpg", "test"),
        ("x", "a/x.v1.jpg", "test"),
        ("z1", "a/z.jpg", "test"),
        ("z2", "b/z.jpg", "test"),
    )
    assert names.find(name) == place


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("comp4_det_test_hot_dog.txt", "hot_dog"),
        ("comp4_det_test_dog.txt", "dog"),
        ("my_dog.txt", "dog"),
        ("traffic_light.txt", "traffic light"),
    ],
)
def test_a_vocs_text_is_of_the_class_that_follows_its_split(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("297 .5 1 1 9 9\n")
    assert read_voc_detections(tmp_path / file, ["light", "dog", "traffic light"]).classes == [name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": HUGE}, "detection 0: its score is not a finite number"),
        ({"bbox": [HUGE, 1, 2, 2]}, "detection 0: its box is not four finite numbers"),
        ({"bbox": [HUGE, 1, 0.5, 2]}, "detection 0: its box is not four finite numbers"),
        ({"category_id": 0}, "category_id 0 is not among the data's categories (1 cat, 2 dog); correct it"),
    ],
)
def test_a_bad_result_is_one_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    row = {"image_id": 1, "category_id": 1, "bbox": BOX, "score": 0.5, **change}
    (tmp_path / "found.json").write_text(json.dumps([row]))
    with pytest.raises(InputError) as raised:
        read_coco_detections(tmp_path / "found.json", lambda: ({1: "1.jpg"}, {1: "cat", 2: "dog"}))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_of_many_categories_some_are_listed(tmp_path: Path) -> None:
    (tmp_path / "found.json").write_text(json.dumps([{"category_id": 99, "score": 1}]))
    categories: dict[int | str, str] = {number: f"c{number}" for number in range(1, 91)}
    with pytest.raises(InputError, match=r"\(1 c1, 2 c2, .*, 10 c10 and 80 more\); correct it$"):
        read_coco_detections(tmp_path / "found.json", lambda: ({}, categories))
    with pytest.raises(InputError, match=r"categories \(there are none\); correct it$"):
        read_coco_detections(tmp_path / "found.json", lambda: ({}, {}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("3", "is not a list of class names with background first; run"),
        ("[1, 2]", "is not a list of class names"),
    ],
)
def test_bad_classes_of_a_stage_are_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/classes.json").write_text(content)
    with pytest.raises(InputError) as raised:
        read_stage_detections(tmp_path / "detect/detections.parquet", tmp_path)
    assert f"classes.json: {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_curve_has_the_precision_at_each_hundredth_that_is_reached() -> None:
    """All of 100 are found, with a wrong one after each, so that precision falls at each recall."""
    found = np.tile([1, 0], 100).cumsum()
    recall, precision = found / 100, found / np.arange(1, 201)
    curve = ClassAP(1, 100, recall, precision, np.linspace(1, 0, 200), 0.0, 0.0)
    shown = curves_of(VocAP((curve,), 0.0, 0.0), ["dog"])["precision"].to_numpy()
    assert shown[1:] == pytest.approx([number / (2 * number - 1) for number in range(1, 101)])
