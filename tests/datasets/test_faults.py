"""What cannot be read at all: a reading that goes on finds each of it, and what is sound beside it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import names_in
from pipeline.runtime.errors import InputError
from tests.faults.trees import KINDS, KITTI, TABLE, XML, YOLO, annotation_files, coco, plant, read, read_on


def _voc(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("a/b\na\nc\n")
    (root / "Annotations/a.xml").write_text(XML.replace("<width>100</width>", "<width>wide</width>"))
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
    (root / "training/label_2/c.txt").write_bytes(b"\xff\xfe\0")


def _yolo(root: Path) -> None:
    (root / "data.yaml").write_text("nc: 2\n")
    (root / "labels/train/a.txt").write_text("0 1\n" + YOLO + "0 1 2\n")
    (root / "labels/test/b.txt").write_bytes(b"\xff\xfe\0")


def _table(root: Path) -> None:
    more = "a.png,train,dog,1,2,3,4,yes\n../x.png,train,dog,1,2,3,4,no\n,test,dog,1,2,3,4,0\n"
    (root / "boxes.csv").write_text(TABLE + more)


SEVERAL: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "voc": (_voc, ["'a/b' is not an image name", "c.xml: malformed XML", "a.xml: size/width is 'wide'"]),
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
        ["'../b' is not an image name", "a.txt: line 1 has 2", "a.txt: line 4 has 3", "c.txt: cannot be read"],
    ),
    "yolo": (_yolo, ["data.yaml: has no names", "b.txt: cannot be read", "a.txt: line 1 has 2", "line 4 has 3"]),
    "table": (_table, ["'../x.png' is not a path", "'' is not a path", "holds 'yes'", "holds 'no'"]),
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


@pytest.mark.parametrize(("kind", "file"), [(kind, file) for kind in KINDS for file in annotation_files(kind)])
def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(kind: str, file: str, tmp_path: Path) -> None:
    root = plant(kind, tmp_path)
    (root / file).unlink()
    os.mkfifo(root / file)
    _, findings, lines = read_on(kind, root)
    assert any(file in text for text in [*lines, *(finding.file for finding in findings)])


@pytest.mark.parametrize(("kind", "file"), [(kind, file) for kind in KINDS for file in annotation_files(kind)])
def test_a_file_in_a_folder_that_may_not_be_searched_is_told(
    kind: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant(kind, tmp_path)
    looked = Path.is_file

    def denied(path: Path) -> bool:  # as for a user who is not root, whom nothing is denied
        if path == root / file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked(path)

    monkeypatch.setattr(Path, "is_file", denied)
    _, findings, lines = read_on(kind, root)
    assert f"{root / file}: cannot be read (Permission denied); make it readable" in lines
    assert {finding.kind for finding in findings}.isdisjoint(("image_without_annotation", "no_label_file"))


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: cannot be read .*; make it readable"):
        names_in(tmp_path / "file")


def test_a_pipe_among_labels_is_passed_over(tmp_path: Path) -> None:
    root = plant("yolo", tmp_path)
    os.mkfifo(root / "labels/train/c.txt")
    images, findings, lines = read_on("yolo", root)
    assert len(images) == 2 and not findings and not lines


@pytest.mark.parametrize("written", ["1_0", "1_0.5"])
@pytest.mark.parametrize(
    ("kind", "file", "number"),
    [
        ("voc", "Annotations/a.xml", "11"),
        ("kitti", "training/label_2/a.txt", "10.5"),
        ("yolo", "labels/train/a.txt", "0.375"),
        ("table", "boxes.csv", "10"),
    ],
)
def test_a_number_with_an_underscore_is_none(kind: str, file: str, number: str, written: str, tmp_path: Path) -> None:
    root = plant(kind, tmp_path)
    (root / file).write_text((root / file).read_text().replace(number, written, 1))
    _, findings, _ = read_on(kind, root, non_numeric="drop")
    assert [finding.kind for finding in findings if repr(written) in finding.detail] == ["non_numeric"]


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
