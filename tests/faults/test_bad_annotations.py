"""Bad annotations of every format, each with the line that it ends in: which file, what is wrong, what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import coco_table
from pipeline.datasets.coco import read_coco
from pipeline.datasets.kitti import read_kitti
from pipeline.datasets.table import read_table
from pipeline.datasets.voc import read_voc
from pipeline.datasets.yolo import read_yolo
from pipeline.runtime.errors import InputError
from tests.faults.trees import KINDS, KITTI, TABLE, XML, YOLO, coco, plant, read, read_on

Spoil = Callable[[Path], object]


def write(name: str, content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(data)


def xml(old: str, new: str) -> Spoil:
    assert old in XML
    return write("Annotations/a.xml", XML.replace(old, new))


def label(old: str, new: str) -> Spoil:
    assert old in KITTI
    return write("training/label_2/a.txt", KITTI.replace(old, new))


def shares(old: str, new: str) -> Spoil:
    assert old in YOLO
    return write("labels/train/a.txt", YOLO.replace(old, new))


def rows(old: str, new: str) -> Spoil:
    assert old in TABLE
    return write("boxes.csv", TABLE.replace(old, new))


def instances(change: Callable[[dict[str, Any]], object]) -> Spoil:
    content = coco("a.png")
    change(content)
    return write("train.json", json.dumps(content))


def put(*path: str | int, value: Any) -> Spoil:
    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = value

    return instances(change)


def drop(*path: str | int) -> Spoil:
    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        del content[path[-1]]

    return instances(change)


def gone(name: str) -> Spoil:
    return lambda root: (root / name).unlink()


BOMB = (
    '<!DOCTYPE a [<!ENTITY x "haha"><!ENTITY y "&x;&x;&x;"><!ENTITY z "&y;&y;&y;">]>'
    "<annotation><object><name>&z;</name></object></annotation>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
ANNOTATION = ("annotations", 0)

VOC: dict[str, tuple[Spoil, str]] = {
    "no annotation": (gone("Annotations/a.xml"), "Annotations/a.xml: no such annotation; add it or remove a from"),
    "no image": (gone("JPEGImages/a.jpg"), "JPEGImages/a.jpg: no such image; add it or remove a from ImageSets/Main"),
    "empty image": (
        write("JPEGImages/a.jpg", b""),
        "a.jpg: it is empty; replace the image, or set dataset.findings.truncated to drop",
    ),
    "text for an image": (write("JPEGImages/a.jpg", "<html>404</html>"), "a.jpg: it is not a JPEG, PNG, BMP, WebP"),
    "entity bomb": (write("Annotations/a.xml", BOMB), "a.xml: refused, it declares XML entities"),
    "entity of a file": (write("Annotations/a.xml", OUTSIDE), "a.xml: refused, it declares XML entities"),
    "cut": (write("Annotations/a.xml", XML[:90]), "a.xml: malformed XML"),
    "binary": (write("Annotations/a.xml", b"\0\1\2\3"), "a.xml: malformed XML"),
    "unknown encoding": (
        write(
            "Annotations/a.xml",
            b'<?xml version="1.0" encoding="x"?>' + XML.replace("dog", "ch\xe9n").encode("latin-1"),
        ),
        "a.xml: is not in x as it says, and has class names that are not ASCII; save it as UTF-8, or declare",
    ),
    "other size": (xml("<width>100", "<width>101"), "says 101 x 80 px, JPEGImages/a.jpg has 100 x 80; correct the"),
    "turned size": (
        write("Annotations/a.xml", XML.replace(">100<", ">8<").replace(">80<", ">100<").replace(">8<", ">80<")),
        "says 80 x 100 px, JPEGImages/a.jpg has 100 x 80",
    ),
    "size in words": (xml(">100<", ">wide<"), "size/width is 'wide', not a number"),
    "another format": (write("Annotations/a.xml", "<a/>"), "a.xml: is a <a>, not VOC's <annotation>; replace it"),
    "no box": (xml("bndbox", "polygon"), "no <bndbox><xmin> in <object>"),
    "no corner": (xml("<ymax>40</ymax>", ""), "no <bndbox><ymax> in <object>"),
    "corner in words": (xml(">21<", ">top<"), "a.xml: bndbox/ymin of object 0 is 'top', not a number; correct it, or"),
    "decimal comma": (xml(">21<", ">21,5<"), "bndbox/ymin of object 0 is '21,5', not a number"),
    "no name": (xml("<name>dog</name>", ""), "no <name> in <object>"),
    "difficult in words": (xml(">0<", ">maybe<"), "difficult of object 0 is 'maybe', not a number"),
    "list of paths": (write("ImageSets/Main/train.txt", "../a\n"), "train.txt: '../a' is not an image name"),
    "in two splits": (write("ImageSets/Main/test.txt", "a\nb\n"), "image 'a' is both in train and in test; remove"),
    "list in Latin-1": (write("ImageSets/Main/train.txt", "ä\n".encode("latin-1")), "cannot be read as UTF-8 text"),
}
COCO: dict[str, tuple[Spoil, str]] = {
    "no file": (gone("train.json"), "train.json: no such annotation file"),
    "empty": (write("train.json", ""), "train.json: not valid JSON"),
    "cut": (write("train.json", json.dumps(coco("a.png"))[:99]), "train.json: not valid JSON"),
    "not UTF-8": (write("train.json", b'{"images": "\xff"}'), "train.json: not valid JSON"),
    "a list": (write("train.json", "[1, 2]"), "train.json: holds no JSON object"),
    "nested deeply": (write("train.json", "[" * 100_000), "train.json: is nested too deeply"),
    "endless digits": (write("train.json", "1" * 10_000), "train.json: not valid JSON"),
    "no images": (drop("images"), "train.json: has no list 'images'"),
    "no annotations": (drop("annotations"), "train.json: has no list 'annotations'"),
    "categories by name": (put("categories", value={"dog": 3}), "train.json: has no list 'categories'"),
    "image without file": (drop("images", 0, "file_name"), "images[0] has no file_name"),
    "image without id": (drop("images", 0, "id"), "images[0].id is missing, expected a whole number or a text"),
    "image id as a list": (put("images", 0, "id", value=[1]), "images[0].id is [1], expected a whole number"),
    "width in words": (put("images", 0, "width", value="100"), "images[0].width is '100', expected a number"),
    "no size": (put("images", 0, "width", value=0), "the annotation says 0 x 80 px"),
    "file name a number": (put("images", 0, "file_name", value=7), "images[0].file_name: '7' is not a path below the"),
    "file name climbing": (put("images", 0, "file_name", value="../../etc/passwd"), "is not a path below the data"),
    "absolute file name": (put("images", 0, "file_name", value="/etc/passwd"), "is not a path below the data root"),
    "file name with NUL": (put("images", 0, "file_name", value="a\0.png"), "is not a path below the data root"),
    "no image file": (put("images", 0, "file_name", value="c.png"), "train/c.png: no such image; add it or remove c"),
    "annotation a number": (put(*ANNOTATION, value=5), "annotations[0] has no bbox"),
    "annotation without bbox": (drop(*ANNOTATION, "bbox"), "annotations[0].bbox is missing, expected a list of 4"),
    "bbox of three": (put(*ANNOTATION, "bbox", value=[1, 2, 3]), "annotations[0].bbox is [1, 2, 3], expected a list"),
    "bbox a mapping": (put(*ANNOTATION, "bbox", value={"x": 1}), "annotations[0].bbox is {'x': 1}, expected a list"),
    "bbox in words": (put(*ANNOTATION, "bbox", 1, value="20"), "annotations[0]: y of the bbox is '20', not a number"),
    "bbox with null": (put(*ANNOTATION, "bbox", 2, value=None), "width of the bbox is 'None', not a number"),
    "bbox with a truth": (put(*ANNOTATION, "bbox", 0, value=True), "x of the bbox is 'True', not a number"),
    "crowd in words": (put(*ANNOTATION, "iscrowd", value="no"), "annotations[0].iscrowd is 'no', expected 0 or 1"),
    "no image id": (drop(*ANNOTATION, "image_id"), "annotations[0].image_id is missing"),
    "category as a float": (put(*ANNOTATION, "category_id", value=3.5), "annotations[0].category_id is 3.5, expected"),
    "image not listed": (put(*ANNOTATION, "image_id", value=8), "image id 8 of train.json: no such image"),
    "category id twice": (put("categories", 1, "id", value=3), "categories[1].id is 3, which 'dog' has too"),
    "category without name": (drop("categories", 0, "name"), "categories[0].name is missing, expected a text"),
    "category a text": (put("categories", 0, value="dog"), "categories[0] is not an object with id and name"),
    "no category": (
        lambda root: [
            write(f"{s}.json", json.dumps(coco("a.png") | {"categories": []}))(root) for s in ("train", "test")
        ],
        "nothing to learn",
    ),
    "image twice": (
        instances(lambda content: content["images"].append(dict(content["images"][0], id=2))),
        "train/a.png and train/a.png would both be image 'train_a'; list it once",
    ),
}
KITTI_FAULTS: dict[str, tuple[Spoil, str]] = {
    "no list": (gone("train.txt"), "train.txt: no such file; set dataset.kitti.train to lists that are there"),
    "empty list": (write("train.txt", "\n\n"), "train.txt: lists no image"),
    "list of paths": (write("train.txt", "training/a\n"), "train.txt: 'training/a' is not an image name"),
    "no label": (
        gone("training/label_2/a.txt"),
        "label_2/a.txt: no such annotation; add it or remove a from train.txt",
    ),
    "no image": (gone("training/image_2/a.png"), "image_2/a.png: no such image; add it or remove a from train.txt"),
    "a field less": (label(" -1.56", ""), "a.txt: line 1 has 14 fields, KITTI's have 15"),
    "a word more": (label("-1.56", "-1.56 0.9 x"), "a.txt: line 1 has 17 fields"),
    "words for numbers": (label("40.25", "low"), "a.txt: bottom of line 1 is 'low', not a number"),
    "binary": (write("training/label_2/a.txt", b"\xff\xfe\0"), "a.txt: cannot be read as UTF-8 text"),
    "no classes": (
        lambda root: [write(f"training/label_2/{n}.txt", KITTI.split("\n")[1])(root) for n in "ab"],
        "nothing to learn",
    ),
}
YOLO_FAULTS: dict[str, tuple[Spoil, str]] = {
    "four fields": (shares(" 0.25\n", "\n"), "a.txt: line 1 has 4 fields, a box has 5"),
    "eight fields": (shares("0.25\n", "0.25 0.1 0.1 2\n"), "a.txt: line 1 has 8 fields, a box has 5"),
    "an angle": (shares("0.25\n", "0.25 1.57\n"), "a.txt: line 1 has 6 fields, a box has 5"),
    "corner in words": (shares("0.25\n", "0.25 0.1 top\n"), "a corner of line 1 is 'top', not a number"),
    "keypoints of one side": (write("data.yaml", "names: [cat, dog]\nkpt_shape: [17]\n"), "data.yaml: kpt_shape is "),
    "words for numbers": (shares("0.375", "middle"), "a.txt: y_centre of line 1 is 'middle', not a number"),
    "no images": (gone("images/train/a.png"), "images/train: has no images"),
    "no names": (gone("data.yaml"), "data.yaml: no such file; set dataset.yolo.names"),
    "names no YAML": (write("data.yaml", "names: ["), "data.yaml: not valid YAML"),
    "names missing": (write("data.yaml", "nc: 2\n"), "data.yaml: has no names, a list of texts"),
    "names from one": (write("data.yaml", "names: {1: cat, 2: dog}\n"), "data.yaml: the keys of names are not 0, 1, 2"),
    "names of lists": (write("data.yaml", "names: [[1], 2]\n"), "data.yaml: has no names, a list of texts"),
    "names twice": (
        write("data.yaml", "names: [dog, dog]\n"),
        "data.yaml: the class 'dog' is named twice; name each class once",
    ),
    "names that run code": (
        write("data.yaml", "names: !!python/object/apply:os.getcwd []\n"),
        "data.yaml: not valid YAML",
    ),
}
TABLE_FAULTS: dict[str, tuple[Spoil, str]] = {
    "no table": (gone("boxes.csv"), "boxes.csv: no such table; set dataset.table.file"),
    "empty": (write("boxes.csv", ""), "boxes.csv: not a readable csv table"),
    "header alone": (write("boxes.csv", TABLE.split("\n")[0] + "\n"), "boxes.csv: has no row"),
    "no column": (rows("class", "kind"), "boxes.csv: has no column 'class'; it needs file, split, class, x1"),
    "no split": (rows("split", "usage"), "boxes.csv: has no column 'split'; write one, name a table for each split"),
    "column twice": (rows("difficult", "x1"), "boxes.csv: has two columns 'x1'"),
    "a field more": (rows("40,0", "40,0,7"), "boxes.csv: not a readable csv table"),
    "no such split": (rows("train", "training"), "boxes.csv: has no row of split 'train'"),
    "words for numbers": (rows("10,20,30,40,0", "10,x,30,40,0"), "boxes.csv: y1 of row 1 is 'x', not a number"),
    "a number missing": (rows("10,20,30,40,0", "10,,30,40,0"), "boxes.csv: y1 of row 1 is '', not a number"),
    "flag in words": (rows("40,0", "40,rather"), "boxes.csv: column 'difficult' holds 'rather'; write 0, 1"),
    "path that climbs": (rows("a.png", "../a.png"), "column file: '../a.png' is not a path below the data root"),
    "no path": (rows("a.png", ""), "column file: '' is not a path below the data root"),
    "no image": (rows("a.png", "c.png"), "c.png: no such image; add it or remove c from boxes.csv"),
    "no classes": (
        write("boxes.csv", TABLE.replace("dog,10,20,30,40", ",,,,").replace("cat,10,20,30,40", ",,,,")),
        "nothing to learn",
    ),
}
CASES = {"voc": VOC, "coco": COCO, "kitti": KITTI_FAULTS, "yolo": YOLO_FAULTS, "table": TABLE_FAULTS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_sound_trees_are_sound(kind: str, tmp_path: Path) -> None:
    images, findings = read(kind, plant(kind, tmp_path))
    assert [image.split for image in images] in (["train", "test"], ["test", "train"]) and not findings
    assert all(len(image.boxes) for image in images)


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases in CASES.items() for case in cases], ids=lambda value: str(value)
)
def test_a_bad_annotation_ends_in_one_line(kind: str, case: str, tmp_path: Path) -> None:
    spoil, line = CASES[kind][case]
    root = plant(kind, tmp_path)
    spoil(root)
    with pytest.raises(InputError) as caught:
        read(kind, root)
    message = str(caught.value)
    assert line in message
    assert "\n" not in message and len(message) < 600
    _, _, lines = read_on(kind, root)
    assert lines[0] == message  # the first of those that a reading to the end finds


def test_there_are_sixty_distinct_bad_inputs() -> None:
    assert sum(len(cases) for cases in CASES.values()) >= 60


def test_a_json_beyond_all_use_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_table, "_LARGEST", 100)
    with pytest.raises(InputError, match=r"train\.json: is larger than"):
        read("coco", plant("coco", tmp_path))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "", "a\\b", "a\0b", "a//b", "x" * 2000])
def test_no_parameter_leads_out_of_the_data_root(path: str, tmp_path: Path) -> None:
    splits: Any = {"train": [path], "test": [path]}
    for kind, reading in (
        ("voc", lambda root: read_voc(root, splits, None)),
        ("coco", lambda root: read_coco(root, splits, "{name}", None)),
        ("coco", lambda root: read_coco(root, {"train": ["train.json"]}, f"{path}/..", None)),
        ("kitti", lambda root: read_kitti(root, {"train": ["train"]}, f"{path}/..", None, {})),
        ("kitti", lambda root: read_kitti(root, {"train": [f"{path}/.."]}, "training", None, {})),
        ("yolo", lambda root: read_yolo(root, splits, "data.yaml")),
        ("yolo", lambda root: read_yolo(root, {"train": ["images/train"]}, path)),
        ("table", lambda root: read_table(root, {"train": ["train"]}, path, "xyxy", None)),
    ):
        root = plant(kind, tmp_path / kind)
        with pytest.raises(InputError, match=r"not a path below the data root|names no split in") as caught:
            reading(root)  # type: ignore[no-untyped-call]
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_or_empty_root_says_how_to_link_one(kind: str, tmp_path: Path) -> None:
    for root, line in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "no data set is linked")):
        with pytest.raises(InputError, match=rf"{line}.*give dataset\.root=PATH to frcnn preset"):
            read(kind, root)
