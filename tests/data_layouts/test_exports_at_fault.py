"""Exports with one file that is damaged, empty or written by another system: read correctly, or refused by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.base import Dataset
from pipeline.datasets.reading import read_dataset
from pipeline.runtime.errors import InputError
from tests.data_layouts import writers
from tests.data_layouts.photos import put, put_photo
from tests.defaults import default_params

Write = Callable[[Path], None]


def opened(root: Path) -> tuple[str, Dataset]:
    """What the line of `frcnn preset` says, and the data set; images are read when they are iterated."""
    defaults = default_params().dataset
    layout = recognise(root, defaults)
    return layout.what, read_dataset(root, layout.params(defaults))


def renamed(write: Write, pattern: str, suffix: str) -> Write:
    def plant(root: Path) -> None:
        write(root)
        for path in list(root.rglob(pattern)):
            path.rename(path.with_suffix(suffix))

    return plant


def rewritten(write: Write, pattern: str, change: Callable[[str], str | bytes]) -> Write:
    def plant(root: Path) -> None:
        write(root)
        for path in root.rglob(pattern):
            text = change(path.read_text(encoding="utf-8"))
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return plant


def as_utf16(text: str) -> bytes:
    return text.encode("utf-16")


def paddle(root: Path) -> None:
    """PaddleX's form of VOC: lists in the root, of pairs of an image and its XML file."""
    writers.voc_tree(root, {})
    for split, names in (("train", "abc"), ("val", "d"), ("test", "e")):
        put(root / f"{split}_list.txt", "".join(f"JPEGImages/{name}.jpg Annotations/{name}.xml\n" for name in names))
    put(root / "labels.txt", "apple\npear\n")


READ: dict[str, Write] = {
    "VOC, lists and .XML": renamed(writers.voc2007, "*.xml", ".XML"),
    "VOC, folders and .XML": renamed(writers.roboflow_voc, "*.xml", ".XML"),
    "VOC, lists in UTF-16": rewritten(writers.voc2007, "trainval.txt", as_utf16),
    "VOC, an empty difficult": rewritten(
        writers.voc2007, "*.xml", lambda text: text.replace("<difficult>0<", "<difficult> <")
    ),
    "YOLO, .TXT": renamed(writers.coco8, "*.txt", ".TXT"),
    "YOLO, settings in UTF-16": rewritten(writers.roboflow_yolo, "data.yaml", as_utf16),
    "YOLO, lists in UTF-16": rewritten(writers.darknet, "*.txt", as_utf16),
    "YOLO, names in UTF-16": rewritten(writers.darknet, "obj.*", as_utf16),
    "COCO, photos called .JPG": renamed(writers.roboflow_coco, "*.jpg", ".JPG"),
    "COCO, percent signs": rewritten(writers.coco2017, "*.json", lambda text: text.replace('.jpg"', '%2Ejpg"')),
}


@pytest.mark.parametrize("name", READ)
def test_what_another_system_wrote_is_read(name: str, tmp_path: Path) -> None:
    READ[name](tmp_path)
    dataset = opened(tmp_path)[1]
    images = list(dataset.images)
    assert len(images) == 5 and sum(len(image.boxes) for image in images) == 6 and dataset.classes == ("apple", "pear")
    of_names = [finding for finding in dataset.findings if finding.kind == "file_name"]
    if name.startswith("COCO"):
        way = "its capitals in another way" if "JPG" in name else "percent signs as in a URL"
        assert len(of_names) == 5 and all(way in finding.detail for finding in of_names)
    elif name.startswith("VOC"):
        assert not of_names


REFUSED: dict[str, tuple[Write, str]] = {
    "VOC, one empty XML": (
        rewritten(writers.roboflow_voc, "a_*.xml", lambda text: ""),
        "train/a_jpg.rf.0123abcd.xml: malformed XML (no element found: line 1, column 0); fix or replace the file",
    ),
    "VOC, tags in capitals": (
        rewritten(writers.roboflow_voc, "*.xml", lambda text: text.replace("annotation>", "ANNOTATION>")),
        "0123abcd.xml: is a <ANNOTATION>; write VOC's tags in lower case and without xmlns",
    ),
    "VOC, a namespace": (
        rewritten(writers.voc2007, "*.xml", lambda text: text.replace("<annotation>", '<annotation xmlns="urn:a">')),
        ".xml: is a <{urn:a}annotation>; write VOC's tags in lower case and without xmlns",
    ),
    "VOC, an empty name": (
        rewritten(writers.voc2007, "a.xml", lambda text: text.replace(">pear<", "> <")),
        "Annotations/a.xml: <name> in <object> is empty; write what belongs there",
    ),
    "COCO, train empty": (
        rewritten(writers.roboflow_coco, "train/*.json", lambda text: ""),
        "train/_annotations.coco.json: not valid JSON (Expecting value",
    ),
    "COCO, val cut off": (
        rewritten(writers.roboflow_coco, "valid/*.json", lambda text: text[:200]),
        "valid/_annotations.coco.json: not valid JSON (",
    ),
    "COCO, a line an object": (
        rewritten(writers.roboflow_coco, "train/*.json", lambda text: "{}\n{}\n"),
        "train/_annotations.coco.json: not valid JSON (Extra data",
    ),
    "YOLO, another nc": (
        rewritten(writers.roboflow_yolo, "data.yaml", lambda text: text.replace("nc: 2", "nc: 3")),
        "data.yaml: nc is 3, and names has 2; correct one of them",
    ),
    "YOLO, an empty list": (
        rewritten(writers.darknet, "train.txt", lambda text: "\n"),
        "would be YOLO by darknet's obj.data, but train.txt: has no images",
    ),
    "YOLO, a list of other names": (
        renamed(writers.darknet, "*.jpg", ".JPG"),
        "would be YOLO by darknet's obj.data, but data/obj/",
    ),
    "YOLO, settings that are no text": (
        rewritten(writers.roboflow_yolo, "data.yaml", lambda text: b"\xff\xff" + text.encode()),
        "no reader fits: data.yaml: cannot be read as UTF-8 text",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_at_fault_is_named(name: str, tmp_path: Path) -> None:
    write, expected = REFUSED[name]
    write(tmp_path)
    with pytest.raises(InputError) as caught:
        list(opened(tmp_path)[1].images)
    assert expected in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("write", "folder", "named"),
    [
        (writers.roboflow_voc, "train", "eval"),
        (writers.tensorflow_tutorial, "images/train", "images/eval"),
        (writers.roboflow_coco, "train", "eval/_annotations.coco.json"),
        (writers.roboflow_darknet, "train", "eval"),
        (writers.tensorflow_csv, "train", "eval/_annotations.csv"),
    ],
)
def test_a_folder_of_no_split_beside_the_others_is_told(tmp_path: Path, write: Write, folder: str, named: str) -> None:
    write(tmp_path)
    assert "left out" not in opened(tmp_path)[0]
    shutil.copytree(tmp_path / folder, tmp_path / folder.replace("train", "eval"))
    assert opened(tmp_path)[0].partition("; ")[2] == f"{named} is left out"


def test_folders_of_images_of_no_split_are_told(tmp_path: Path) -> None:
    writers.roboflow_yolo(tmp_path)
    settings = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(settings[settings.index("nc:") :])  # without the splits
    shutil.copytree(tmp_path / "train", tmp_path / "eval")
    shutil.copytree(tmp_path / "train", tmp_path / "more")
    what = "YOLO with a folder of images a split (SPLIT/images); eval/images and more/images are left out"
    assert opened(tmp_path)[0] == what


def in_table(change: Callable[[list[str]], list[str]]) -> Write:
    return rewritten(writers.plain_csv, "labels.csv", lambda text: "\n".join(change(text.splitlines())) + "\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: [*rows, rows[1].replace(",train,", ",,")], "1 row of '' of column split are not read"),
        (lambda rows: [*rows, rows[1].replace(",train,", ",spare,")], "1 row of 'spare' of column split"),
        (
            lambda rows: [row.replace(",val,", ",spare,") for row in [*rows, rows[1].replace(",train,", ",,")]],
            "1 row of 'spare' and 1 row of '' of column split are not read",
        ),
    ],
)
def test_rows_of_no_split_are_told(tmp_path: Path, change: Callable[[list[str]], list[str]], expected: str) -> None:
    in_table(change)(tmp_path)
    (line,) = opened(tmp_path)[1].remarks
    assert line.startswith(f"labels.csv: {expected}")
    assert line.endswith("; to read them add the value to dataset.table.train, val or test")
    writers.plain_csv(tmp_path)
    assert not opened(tmp_path)[1].remarks


def test_rows_of_no_split_are_told_where_both_shares_are_taken(tmp_path: Path) -> None:
    in_table(lambda rows: [*rows, rows[1].replace(",train,", ",spare,")])(tmp_path)
    defaults = default_params().dataset
    params = recognise(tmp_path, defaults, divides=True).params(defaults)
    for shares in ({"val": 0.4}, {"val": 0.2, "test": 0.2}):
        split = params.split.model_copy(update={**shares, "near": False})
        remarks = read_dataset(tmp_path, params.model_copy(update={"split": split})).remarks
        assert remarks[0].startswith("labels.csv: 1 row of 'spare' of column split")  # val and test have a line later


def test_a_table_beside_the_one_that_is_read_is_told(tmp_path: Path) -> None:
    writers.plain_csv(tmp_path)
    assert opened(tmp_path)[0] == "a table, labels.csv, with a column of splits"
    (tmp_path / "more.csv").write_text((tmp_path / "labels.csv").read_text())
    put(tmp_path / "notes.csv", "who,when\nme,now\n")
    assert opened(tmp_path)[0] == "a table, labels.csv, with a column of splits; more.csv is left out"


def test_a_score_of_kitti_is_a_finding(tmp_path: Path) -> None:
    rewritten(writers.kitti, "training/label_2/a.txt", lambda text: text.replace("\n", " 0.8\n"))(tmp_path)
    dataset = opened(tmp_path)[1]
    assert sum(len(image.boxes) for image in dataset.images) == 6
    assert [finding.kind for finding in dataset.findings] == ["scores"]


def test_copies_in_a_folder_of_the_same_split_are_told(tmp_path: Path) -> None:
    writers.coco8(tmp_path)
    assert not opened(tmp_path)[1].remarks
    shutil.copytree(tmp_path / "images/train", tmp_path / "images/train/backup")
    (tmp_path / "images/train/backup/b.jpg").unlink()
    assert opened(tmp_path)[1].remarks == [
        "2 images of train have copies in another folder, such as images/train/a.jpg and "
        "images/train/backup/a.jpg; remove the copies, or name the folders to read"
    ]
    put_photo(tmp_path / "images/train/other/x.jpg")
    (tmp_path / "images/train/other/x.jpg").rename(tmp_path / "images/train/other/a.jpg")  # of other bytes
    shutil.rmtree(tmp_path / "images/train/backup")
    assert not opened(tmp_path)[1].remarks


LEFT_OUT: dict[str, tuple[Write, str]] = {
    "YOLO, a wrong val": (
        rewritten(writers.roboflow_yolo, "data.yaml", lambda text: text.replace("../valid/", "../vald/")),
        "YOLO by its data.yaml; its val (../vald/images) has no images and is left out",
    ),
    "YOLO, no test": (
        rewritten(writers.roboflow_yolo, "data.yaml", lambda text: text.replace("../test/", "../tests/")),
        "YOLO by its data.yaml; its test (../tests/images) has no images and is left out",
    ),
    "YOLO, a test without labels": (
        renamed(writers.roboflow_yolo, "test/labels/*.txt", ".json"),
        "YOLO by its data.yaml; its test (test/images) has no labelled image and is left out",
    ),
    "VOC, a test list of other images": (
        rewritten(writers.voc2007, "test.txt", lambda text: "x\ny\n"),
        "VOC with lists in ImageSets/Main; its test (test) has no labelled image and is left out",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_declared_split_that_cannot_be_read_is_told(name: str, tmp_path: Path) -> None:
    write, expected = LEFT_OUT[name]
    write(tmp_path)
    assert opened(tmp_path)[0] == expected


def test_paddles_lists_of_pairs_are_read(tmp_path: Path) -> None:
    paddle(tmp_path)
    what, dataset = opened(tmp_path)
    assert what == "VOC with lists in the data root"
    images = {image.image_id: (image.split, len(image.boxes)) for image in dataset.images}
    assert images == {"a": ("train", 2), "b": ("train", 1), "c": ("train", 0), "d": ("val", 1), "e": ("test", 2)}
    assert {finding.kind for finding in dataset.findings} == {"file_name"}
    (tmp_path / "JPEGImages/a.jpg").rename(tmp_path / "JPEGImages/a b.jpg")
    (tmp_path / "Annotations/a.xml").rename(tmp_path / "Annotations/a b.xml")
    put(tmp_path / "train_list.txt", "JPEGImages/a b.jpg Annotations/a b.xml\nJPEGImages/b.jpg Annotations/b.xml\n")
    assert [image.image_id for image in opened(tmp_path)[1].images] == ["a b", "b", "d", "e"]


@pytest.mark.parametrize("keeps_key", [True, False])
def test_a_coco_split_without_annotations_is_left_out_with_a_word(tmp_path: Path, keeps_key: bool) -> None:
    writers.roboflow_coco(tmp_path)
    file = tmp_path / "test/_annotations.coco.json"
    content = json.loads(file.read_text())
    del content["annotations"]
    put(file, json.dumps({**content, "annotations": []} if keeps_key else content))
    what, dataset = opened(tmp_path)
    expected = "; test/_annotations.coco.json has no annotations and is left out"
    assert what == f"COCO with a JSON file a split{expected}" and len(list(dataset.images)) == 4


def test_an_image_that_has_a_copy_is_told(tmp_path: Path) -> None:
    writers.coco8(tmp_path)
    shutil.copytree(tmp_path / "images/train", tmp_path / "images/train/backup")
    for name in ("b", "c"):
        (tmp_path / f"images/train/backup/{name}.jpg").unlink()
    (line,) = opened(tmp_path)[1].remarks
    assert line.startswith("1 image of train has a copy in another folder, such as images/train/a.jpg and ")
