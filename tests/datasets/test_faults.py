"""What cannot be read at all: a reading that goes on finds each of it, and what is sound beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.datasets.faults import Faults
from pipeline.errors import InputError
from tests.faults.trees import KINDS, KITTI, TABLE, XML, YOLO, coco, plant, read, read_on


def _voc(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("a/b\na\nc\n")
    (root / "Annotations/a.xml").write_text(XML.replace("<width>100</width>", ""))
    (root / "Annotations/c.xml").write_text("<annotation>")


def _coco(root: Path) -> None:
    content = coco("a.png")
    box = content["annotations"][0]
    content["annotations"] = [5, {**box, "bbox": [1]}, box, {**box, "category_id": None}]
    content["images"].append({"id": 7, "file_name": "../x.png"})
    content["categories"].append({"id": 4})
    (root / "train.json").write_text(json.dumps(content))


def _kitti(root: Path) -> None:
    (root / "train.txt").write_text("a\n../b\nc\n")
    (root / "training/label_2/a.txt").write_text("Car 1\n" + KITTI + "Car 2 3\n")
    (root / "training/label_2/c.txt").write_bytes(b"\xff\xfe")


def _yolo(root: Path) -> None:
    (root / "data.yaml").write_text("nc: 2\n")
    (root / "labels/train/a.txt").write_text("0 1\n" + YOLO + "0 1 2\n")
    (root / "labels/test/b.txt").write_bytes(b"\xff\xfe")


def _table(root: Path) -> None:
    more = "a.png,train,dog,1,2,3,4,yes\n../x.png,train,dog,1,2,3,4,no\n,test,dog,1,2,3,4,0\n"
    (root / "boxes.csv").write_text(TABLE + more)


SEVERAL: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "voc": (_voc, ["'a/b' is no image name", "c.xml: malformed XML", "a.xml: no <size><width>"]),
    "coco": (
        _coco,
        [
            "annotations[0] has no bbox",
            "annotations[1].bbox is [1]",
            "annotations[3].category_id is missing",
            "images[1].file_name: '../x.png'",
            "categories[2].name is missing",
        ],
    ),
    "kitti": (
        _kitti,
        ["'../b' is no image name", "a.txt: line 1 has 2", "a.txt: line 4 has 3", "c.txt: cannot be read"],
    ),
    "yolo": (_yolo, ["data.yaml: has no names", "b.txt: cannot be read", "a.txt: line 1 has 2", "line 4 has 3"]),
    "table": (_table, ["'../x.png' is no path", "'' is no path", "holds 'yes'", "holds 'no'"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_faults_are_found_at_once_and_what_is_sound_is_read(kind: str, tmp_path: Path) -> None:
    root = plant(kind, tmp_path)
    spoil, expected = SEVERAL[kind]
    spoil(root)
    drop = {"image_without_annotation": "drop", "annotation_without_image": "drop"}
    images, _, lines = read_on(kind, root, **drop)
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert part in line
    assert "test" in {image.split for image in images}
    with pytest.raises(InputError) as caught:
        read(kind, root, **drop)
    assert str(caught.value) == lines[0]


def test_a_split_at_fault_does_not_hide_those_of_another(tmp_path: Path) -> None:
    root = plant("voc", tmp_path)
    (root / "ImageSets/Main/train.txt").unlink()
    (root / "Annotations/b.xml").write_text("")
    images, _, lines = read_on("voc", root)
    assert not images and ["no such split file" in lines[0], "malformed XML" in lines[1]] == [True, True]


def test_boxes_of_a_file_with_a_bad_line_are_read(tmp_path: Path) -> None:
    root = plant("kitti", tmp_path)
    _kitti(root)
    images, _, _ = read_on("kitti", root, annotation_without_image="drop")
    assert {image.image_id: len(image.boxes) for image in images} == {"a": 2, "b": 2}


def test_an_equal_line_is_kept_once_and_other_exceptions_pass() -> None:
    faults = Faults(keep=True)
    for _ in range(2):
        with faults.going_on():
            raise InputError("a: wrong")
    assert faults.lines == ["a: wrong"]
    with pytest.raises(KeyError), faults.going_on():
        raise KeyError("a")
    with pytest.raises(InputError, match="b"), Faults().going_on():
        raise InputError("b")
