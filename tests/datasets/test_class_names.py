"""What the name of a class may be, in every format: spellings that are one class, and names that can be none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.datasets.class_names import Labels, check_classes, clean_name, distinct_names
from pipeline.runtime.errors import InputError
from tests.faults.trees import KITTI, XML, coco, plant, read

ODD = [
    "1",
    "1.0",
    "nan",
    "None",
    "null",
    "NA",
    "true",
    "yes",
    "~",
    '"q"',
    "it's",
    "<b>",
    "$x$",
    "a_b",
    "_x",
    "50%",
    "{}",
]
ODD += ["a,b", "=1+1", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u0e01", "c/d", "x" * 200]


def _voc(root: Path, *names: str) -> None:
    for place, name in zip(("a", "b"), names, strict=True):
        text = name.replace("&", "&amp;").replace("<", "&lt;")
        (root / f"Annotations/{place}.xml").write_text(XML.replace("dog", text), encoding="utf-8")


def _coco(root: Path, *names: str) -> None:
    for split, image, name in zip(("train", "test"), ("a.png", "b.png"), names, strict=True):
        content = coco(image)
        content["categories"] = [{"id": 3, "name": name}]
        content["annotations"] = content["annotations"][:1]
        (root / f"{split}.json").write_text(json.dumps(content))


def _yolo(root: Path, first: str, second: str) -> None:
    (root / "data.yaml").write_text(json.dumps({"names": [first, second]}, ensure_ascii=False), encoding="utf-8")
    (root / "labels/train/a.txt").write_text("0 .5 .5 .5 .5\n")
    (root / "labels/test/b.txt").write_text("1 .5 .5 .5 .5\n")


def _table(root: Path, *names: str) -> None:
    rows = [
        f'{n}.png,{s},"{c}",10,20,30,40'.replace('"', '""').replace(',""', ',"').replace('"",1', '",1')
        for n, s, c in zip("ab", ("train", "test"), names, strict=True)
    ]
    (root / "boxes.csv").write_text("\n".join(["file,split,class,x1,y1,x2,y2", *rows]) + "\n", encoding="utf-8")


def _kitti(root: Path, *names: str) -> None:
    for place, name in zip(("a", "b"), names, strict=True):
        (root / f"training/label_2/{place}.txt").write_text(KITTI.replace("Car", name), encoding="utf-8")


WRITE: Mapping[str, Callable[..., None]] = {"voc": _voc, "coco": _coco, "table": _table, "kitti": _kitti, "yolo": _yolo}


@pytest.mark.parametrize("kind", ["voc", "coco", "table"])
@pytest.mark.parametrize("other", ["dog  house ", " dog house", "dog\u00a0house", "dog\u3000house", "\ufeffdog\thouse"])
def test_names_that_differ_by_white_space_are_one_class(tmp_path: Path, kind: str, other: str) -> None:
    WRITE[kind](plant(kind, tmp_path), "dog house", other)
    images, findings = read(kind, tmp_path)
    assert [image.labels.tolist() for image in images] == [[1], [1]]
    assert not [finding for finding in findings if finding.kind == "unknown_class"]


@pytest.mark.parametrize("kind", WRITE)
@pytest.mark.parametrize("name", ["background", "Background", "BACKGROUND"])
def test_no_class_is_called_as_the_background_is(tmp_path: Path, kind: str, name: str) -> None:
    WRITE[kind](plant(kind, tmp_path), name, "Cat")
    with pytest.raises(InputError, match=f"{name}.*rename it") as caught:
        read(kind, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_category_called_background_that_has_no_annotation_is_none(tmp_path: Path) -> None:
    plant("coco", tmp_path)
    for split, image in (("train", "a.png"), ("test", "b.png")):
        content = coco(image)
        content["categories"].insert(0, {"id": 0, "name": "Background"})
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    images, _ = read("coco", tmp_path)
    assert [image.labels.tolist() for image in images] == [[1, 2], [1, 2]]


@pytest.mark.parametrize("kind", ["voc", "coco", "table", "yolo"])
@pytest.mark.parametrize("name", [name for name in ODD if name != '"q"'])
def test_names_that_mean_something_elsewhere_are_names(tmp_path: Path, kind: str, name: str) -> None:
    WRITE[kind](plant(kind, tmp_path), name, "zz")
    images, _ = read(kind, tmp_path)
    assert [len(image.labels) for image in images] == [1, 1]
    assert images[0].labels[0] != images[1].labels[0] and min(image.labels[0] for image in images) == 1


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "x" * 201, "a\x00b", "\ud800", "bAckground ", "\x1b[2J"])
def test_what_is_no_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"here: a class is called .*rename it") as caught:
        check_classes(["cat", name], "here")
    assert str(caught.value).isprintable()


def test_a_class_that_is_named_twice_but_for_white_space_is_refused_where_an_index_depends_on_it() -> None:
    with pytest.raises(InputError, match="'cat' is named twice"):
        check_classes(["cat", "dog", "cat "], "data.yaml")


def test_every_odd_name_stays_as_it_is() -> None:
    assert check_classes(ODD, "here") == tuple(ODD)
    assert distinct_names([" b", "a", "b", "", "\u200b"]) == ["b", "a"]
    assert clean_name("cafe\u0301") == "caf\u00e9"
    labels = Labels(["b", "a"])
    assert [labels[name] for name in ("b", " b", "a\u00a0", "c", "c")] == [1, 1, 2, 0, 0]
