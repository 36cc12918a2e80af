"""The VOC reader: the box rule, findings, sub-trees, one line for every kind of broken input, and real trees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def _object(name: str = "dog", box: tuple[object, ...] = (11, 21, 30, 40), difficult: object = 0) -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    tag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{tag}<bndbox>{corners}</bndbox></object>"


def _add(root: Path, name: str, *objects: str, size: tuple[object, object] = (100, 80)) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "JPEGImages" / f"{name}.jpg").touch()
    path = root / "Annotations" / f"{name}.xml"
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    path.write_text(f"<annotation>{sides}{''.join(objects)}</annotation>", encoding="utf-8")
    return path


def _list(root: Path, **splits: list[str]) -> None:
    for split, names in splits.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two train images and a test image."""
    root = tmp_path / "voc"
    _add(root, "b", _object("dog"), _object("cat", (1, 1, 100, 80), difficult=1))
    _add(root, "a", _object("dog", difficult=None))
    _add(root, "c", _object("bird", (1.5, 2.5, 3.5, 4.5)))
    _list(root, train=["b  1", "a -1"], test=["c"])
    return root


def _read(root: Path, train: tuple[str, ...] = ("train",), classes: list[str] | None = None) -> Dataset:
    return validate(read_voc(root, {"train": train, "test": ["test"]}, classes), policy())


def _splits(root: Path, **splits: list[str]) -> Dataset:
    return validate(read_voc(root, splits, None), policy())  # type: ignore[arg-type]


def test_reads_images_in_order_with_continuous_boxes(tree: Path) -> None:
    dataset = _read(tree)
    a, b, c = dataset.images
    assert dataset.classes == ("bird", "cat", "dog") and not dataset.findings
    assert [image.image_id for image in (a, b, c)] == ["a", "b", "c"]
    assert [image.split for image in (a, b, c)] == ["train", "train", "test"]
    assert (b.file, b.width, b.height) == ("raw/JPEGImages/b.jpg", 100, 80)
    assert b.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]] and b.boxes.dtype == np.float32
    assert c.boxes.tolist() == [[0.5, 1.5, 3.5, 4.5]]
    assert b.labels.tolist() == [3, 2] and b.labels.dtype == np.int16
    assert a.difficult.tolist() == [False] and b.difficult.tolist() == [False, True]
    assert not b.iscrowd.any()


def test_an_image_without_objects_keeps_its_shapes(tree: Path) -> None:
    _add(tree, "a")
    first = next(_read(tree).images)
    assert first.boxes.shape == (0, 4) and first.labels.shape == first.difficult.shape == (0,)


@pytest.mark.parametrize(
    ("box", "kind", "kept"),
    [
        ((5, 5, 5, 20), "zero_area", None),
        ((20, 5, 10, 20), "inverted", None),
        (("nan", 5, 10, 20), "non_finite", None),
        ((1, 1, "inf", 20), "non_finite", None),
        ((120, 5, 130, 20), "outside_image", None),
        ((0, 5, 120, 90), "outside_image", [0, 4, 100, 80]),
    ],
)
def test_a_faulty_box_becomes_a_finding(
    tree: Path, box: tuple[object, ...], kind: str, kept: list[float] | None
) -> None:
    _add(tree, "a", _object(), _object(box=box))
    dataset = _read(tree)
    image = next(dataset.images)
    (finding,) = dataset.findings
    assert (finding.file, finding.object, finding.kind) == ("raw/Annotations/a.xml", 1, kind)
    assert finding.action == ("clipped" if kept else "dropped")
    assert image.boxes.tolist() == [[10, 20, 30, 40], *([kept] if kept else [])]
    assert len(image.labels) == len(image.difficult) == len(image.iscrowd) == len(image.boxes)


def test_objects_of_other_classes_are_dropped_with_a_finding(tree: Path) -> None:
    dataset = _read(tree, classes=["dog"])
    assert [image.labels.tolist() for image in dataset.images] == [[1], [1], []]
    assert [(finding.kind, finding.object) for finding in dataset.findings] == [
        ("unknown_class", 1),
        ("unknown_class", 0),
    ]


def test_sub_trees_give_their_name_to_the_ids(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        _add(tmp_path / year, "000001", _object())
        _add(tmp_path / year, "000002", _object())
        _list(tmp_path / year, trainval=["000001"], test=["000002"])
    images = list(_splits(tmp_path, train=["VOC2012/trainval", "VOC2007/trainval"], test=["VOC2007/test"]).images)
    assert [image.image_id for image in images] == ["VOC2007_000001", "VOC2007_000002", "VOC2012_000001"]
    assert images[2].file == "raw/VOC2012/JPEGImages/000001.jpg"


def test_an_image_in_two_train_splits_comes_once(tree: Path) -> None:
    _list(tree, more=["a"])
    assert [image.image_id for image in _read(tree, ("train", "more")).images] == ["a", "b", "c"]


def _write(text: str) -> Callable[[Path], object]:
    return lambda tree: (tree / "Annotations" / "a.xml").write_text(text, encoding="utf-8")


_BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation><object><name>&y;</name></object></annotation>'
_NO_NAME = "<annotation><object><bndbox/></object></annotation>"

BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "split file": (lambda tree: (tree / "ImageSets/Main/train.txt").unlink(), "train.txt: no such split file"),
    "empty split file": (lambda tree: _list(tree, train=[""]), "lists no image"),
    "binary split file": (lambda tree: (tree / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\0"), "UTF-8"),
    "name leaving the root": (lambda tree: _list(tree, train=["../../secret"]), "is not an image name"),
    "annotation": (lambda tree: (tree / "Annotations/a.xml").unlink(), "a.xml: no such annotation"),
    "image file": (lambda tree: (tree / "JPEGImages/a.jpg").unlink(), "a.jpg: no such image"),
    "in both splits": (lambda tree: _list(tree, test=["a"]), "'a' is both in train"),
    "malformed": (_write("<annotation>\n<object>"), "a.xml: malformed XML"),
    "empty file": (_write(""), "a.xml: malformed XML"),
    "entity bomb": (_write(_BOMB), "a.xml: refused"),
    "no name": (_write(_NO_NAME), "a.xml: no <name> in <object>"),
    "zero size": (lambda tree: _add(tree, "a", _object(), size=(0, 80)), "is not an image size"),
    "another format": (
        _write("<annotations><image/></annotations>"),
        "a.xml: is a <annotations>, not VOC's <annotation>",
    ),
    "size with an underscore": (lambda tree: _add(tree, "a", _object(), size=("1_00", 80)), "'1_00', not a number"),
    "size in words": (lambda tree: _add(tree, "a", _object(), size=("wide", 80)), "'wide', not a number"),
    "coordinate": (lambda tree: _add(tree, "a", _object(box=(1, "x\ny", 3, 4))), "ymin of object 0 is"),
    "no coordinate": (
        lambda tree: _add(tree, "a", _object(box=(1, "", 3, 4))),
        "<bndbox><ymin> in <object> is empty; write what belongs there",
    ),
    "difficult": (lambda tree: _add(tree, "a", _object(difficult="yes")), "difficult of object 0"),
    "no objects": (lambda tree: [_add(tree, name) for name in "abc"], "nothing to learn"),
}


@pytest.mark.parametrize(("breaking", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_input_is_told_in_one_line(tree: Path, breaking: Callable[[Path], object], message: str) -> None:
    breaking(tree)
    with pytest.raises(InputError) as caught:
        list(_read(tree).images)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["../train", "/train", "a/../../train", "", "..", "a\\b"])
def test_a_split_cannot_leave_the_root(tree: Path, split: str) -> None:
    with pytest.raises(InputError, match="names no split in"):
        _read(tree, (split,))


def test_a_missing_or_empty_root_says_how_to_link_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such folder; give dataset\.root=PATH to frcnn preset"):
        _read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no data set is linked .* give dataset\.root=PATH to frcnn preset"):
        _read(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"not a VOC tree; give dataset\.root=PATH to frcnn preset"):
        _read(tmp_path)


def test_ids_that_would_meet_and_lists_that_say_nothing_are_refused(tree: Path) -> None:
    _add(tree / "x", "1", _object())
    _list(tree / "x", train=["1"])
    _add(tree, "x_1", _object())
    _list(tree, train=["x_1"])
    with pytest.raises(InputError, match="would both be image 'x_1'"):
        list(_read(tree, ("train", "x/train")).images)
    with pytest.raises(InputError, match="named twice"):
        _read(tree, classes=["dog", "dog"])


def _real(*parts: str) -> Path:
    root = REAL.joinpath(*parts)
    if not root.is_dir():
        pytest.skip(f"the data set {parts[-1]} is not on this machine")
    return root


def test_reads_voc6_mini() -> None:
    dataset = _splits(_real("voc6_mini"), train=["train"], test=["test"])
    images = list(dataset.images)
    assert dataset.classes == ("aeroplane", "bird", "bus", "cat", "dog", "train") and not dataset.findings
    counts = {split: [len(image.boxes) for image in images if image.split == split] for split in ("train", "test")}
    assert {split: (len(boxes), sum(boxes)) for split, boxes in counts.items()} == {
        "train": (415, 574),
        "test": (202, 295),
    }
    assert all(image.image_id < later.image_id for image, later in itertools.pairwise(images))


def test_reads_bccd_and_finds_its_two_boxes_without_area() -> None:
    dataset = _splits(_real("bccd", "BCCD"), train=["train", "val"], test=["test"])
    images = list(dataset.images)
    assert len(images) == 364 and dataset.classes == ("Platelets", "RBC", "WBC")
    assert sum(len(image.boxes) for image in images) == 4888 - 2
    assert [(finding.file.split("_")[-1], finding.kind) for finding in dataset.findings] == [
        ("00338.xml", "zero_area"),
        ("00343.xml", "zero_area"),
    ]
    assert all(math.isfinite(value) for image in images for value in image.boxes.flat)


def test_a_val_split_stands_beside_train_and_test(tree: Path) -> None:
    _list(tree, train=["a"], val=["b"])
    dataset = _splits(tree, train=["train"], val=["val"], test=["test"])
    assert [(image.image_id, image.split) for image in dataset.images] == [("a", "train"), ("b", "val"), ("c", "test")]
    _list(tree, val=["c"])
    with pytest.raises(InputError, match="image 'c' is both in val and in test"):
        list(_splits(tree, train=["train"], val=["val"], test=["test"]).images)


def test_names_with_spaces_and_suffixes_are_those_images(tree: Path) -> None:
    for name in ("my photo 1", "my photo 0", "写真\u3000一"):
        _add(tree, name, _object())
    _list(tree, train=["my photo 1", "my photo 0"], more=["写真\u3000一.jpg", "b.JPG", "._b"])
    dataset = _read(tree, ("train", "more"))
    assert [image.image_id for image in dataset.images] == ["b", "c", "my photo 0", "my photo 1", "写真\u3000一"]
    assert dataset.remarks == ["passed over 1 file that systems leave, such as JPEGImages/._b.jpg"]
