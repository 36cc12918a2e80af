"""COCO as tools write it: segmentations without boxes, names of other systems, LVIS, detections for ground truth."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from pipeline.datasets.base import AnnotatedImage, Dataset
from pipeline.datasets.coco import read_coco
from pipeline.datasets.faults import Faults
from pipeline.datasets.findings import count_findings
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.validation import validate
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy

DOG = [{"id": 1, "name": "dog"}]
TRIANGLE = [[10, 20, 30, 20, 30, 60]]


def write(root: Path, images: Sequence[Any], annotations: Sequence[Any], encoding: str = "utf-8") -> None:
    content = {"images": list(images), "annotations": list(annotations), "categories": DOG}
    (root / "train.json").write_text(json.dumps(content), encoding=encoding)


def image(name: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "file_name": name, "width": 100, "height": 80, **more}


def made(**own: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 1, "iscrowd": 0, **own}


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def read(root: Path, images: str = "train", **changes: str) -> Dataset:
    return validate(read_coco(root, {"train": ["train.json"]}, images, None), policy(**changes))


def found(dataset: Dataset) -> list[tuple[str, int, str]]:
    return [(finding.kind, finding.object, finding.action) for finding in dataset.findings]


@pytest.mark.parametrize("bbox", [None, [], [0, 0, 0, 0], float("nan"), ""])
def test_an_object_without_a_box_has_that_around_its_outline(tmp_path: Path, bbox: Any) -> None:
    put(tmp_path, "train/a.jpg")
    mask = np.zeros((80, 100), np.uint8, order="F")
    mask[5:9, 7:11] = 1
    packed = coco_mask.encode(mask)
    rle = {"size": [80, 100], "counts": packed["counts"].decode()}
    write(
        tmp_path,
        [image("a.jpg")],
        [
            made(bbox=bbox, segmentation=TRIANGLE),
            made(bbox=[1, 2, 3, 4], segmentation=TRIANGLE),
            made(bbox=bbox, segmentation=rle),
        ],
    )
    dataset = read(tmp_path)
    (only,) = dataset.images
    assert only.boxes.tolist() == [[10, 20, 30, 60], [1, 2, 4, 6], [7, 5, 11, 9]]
    done = "the box around its segmentation taken"
    assert found(dataset) == [("no_box", -1, done)]
    (finding,) = dataset.findings
    assert finding.count == 2 and finding.detail == "2 of 3 objects, the first: no bbox, but a segmentation"
    assert count_findings(dataset.findings) == {"no_box": {done: 2}}


def test_an_image_may_have_a_category_and_an_annotation_the_name_of_its_image(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg")
    write(tmp_path, [image("a.jpg", category_id=1, segmentation=[])], [made(bbox=[1, 2, 3, 4], file_name="a.jpg")])
    assert next(read(tmp_path).images).boxes.tolist() == [[1, 2, 4, 6]]
    write(tmp_path, [image("a.jpg")], [{"category_id": 1, "bbox": [1, 2, 3, 4], "file_name": "a.jpg"}])
    with pytest.raises(InputError, match=r"annotations\[0\]\.image_id is missing, expected a whole number or a text"):
        read(tmp_path)


def test_what_is_done_without_a_box_is_the_policys_to_say(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg")
    write(tmp_path, [image("a.jpg")], [made(segmentation=TRIANGLE), made(bbox=[1, 2, 3, 4])])
    dataset = read(tmp_path, no_box="drop")
    assert next(dataset.images).boxes.tolist() == [[1, 2, 4, 6]] and found(dataset) == [("no_box", 0, "dropped")]
    with pytest.raises(
        InputError, match=r"train\.json: object 0: it has no box \(no bbox, but a segmentation\); correct"
    ):
        list(read(tmp_path, no_box="error").images)


@pytest.mark.parametrize(
    ("outline", "line"),
    [
        ([[1, 2, 3, 4]], "has no bbox, and none can be made of its segmentation: it has no polygon of three points"),
        (
            {"size": [80, 100], "counts": "~"},
            "none can be made of its segmentation: the counts of its mask are not text",
        ),
        ({"size": [100, 80], "counts": [8000]}, "its mask is of 80 x 100 px, its image of 100 x 80; correct it"),
        ([], r"\.bbox is missing, expected a list of 4 numbers"),
    ],
)
def test_an_object_with_neither_box_nor_outline_is_refused(tmp_path: Path, outline: Any, line: str) -> None:
    put(tmp_path, "train/a.jpg")
    write(tmp_path, [image("a.jpg")], [made(bbox=[1, 2, 3, 4]), made(segmentation=outline)])
    with pytest.raises(InputError, match=rf"train\.json: annotations\[1\].*{line}"):
        read(tmp_path)
    faults = Faults(keep=True)
    data = validate(read_coco(tmp_path, {"train": ["train.json"]}, "train", None, faults), policy(), faults=faults)
    assert [len(one.boxes) for one in data.images] == [1] and len(faults.lines) == 1


def _names(kind: str, root: Path) -> tuple[str, str]:
    """A name as another system writes it, and the file that is meant."""
    e = unicodedata.normalize("NFD", "é") if kind == "NFC" else "é"
    return {
        "backslash": ("sub\\a.jpg", "train/sub/a.jpg"),
        "absolute": (f"{root}/train/a.jpg", "train/a.jpg"),
        "elsewhere": ("/home/someone/set/train/a.jpg", "train/a.jpg"),
        "drive": ("D:\\set\\train\\a.jpg", "train/a.jpg"),
        "url": ("https://host/set/train/a.jpg", "train/a.jpg"),
        "NFC": ("caf\u00e9/\u00e9.jpg", f"train/caf{e}/{e}.jpg"),
        "NFD": ("cafe\u0301/e\u0301.jpg", f"train/caf{e}/{e}.jpg"),
    }[kind]


@pytest.mark.parametrize("kind", ["backslash", "absolute", "elsewhere", "drive", "url", "NFC", "NFD"])
def test_a_name_of_another_system_is_the_file_that_is_meant(tmp_path: Path, kind: str) -> None:
    written, meant = _names(kind, tmp_path)
    put(tmp_path, meant)
    write(tmp_path, [image(written)], [made(bbox=[1, 2, 3, 4])])
    dataset = read(tmp_path)
    (only,) = dataset.images
    assert only.file == f"raw/{meant}" and len(only.boxes) == 1
    (finding,) = dataset.findings
    assert (finding.kind, finding.file, finding.action) == ("file_name", "raw/train.json", f"read as {meant}")
    assert repr(written)[1:-1] in finding.detail
    dropped = read(tmp_path, file_name="drop")
    with pytest.raises(InputError, match=r"train\.json: .* is written with .*; write it as the path of its file"):
        list(read(tmp_path, file_name="error").images)
    assert not list(dropped.images) and found(dropped) == [("file_name", -1, "dropped")]


def test_of_two_forms_of_one_name_each_is_its_own_file(tmp_path: Path) -> None:
    names = ["\u00e9.jpg", "e\u0301.jpg"]
    put(tmp_path, *(f"train/{name}" for name in names))
    write(tmp_path, [image(name, id=index) for index, name in enumerate(names)], [made(bbox=[1, 2, 3, 4])])
    dataset = read(tmp_path)
    assert sorted(one.file for one in dataset.images) == sorted(f"raw/train/{name}" for name in names)
    assert not dataset.findings


def test_absolute_names_lose_what_all_have_in_common(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "b.jpg", "train/b.jpg")
    images = [image(f"/x/{name}", id=name) for name in ("train/a.jpg", "test/b.jpg", "train/b.jpg")]
    write(tmp_path, images, [made(image_id="train/a.jpg", bbox=[1, 2, 3, 4])])
    dataset = read(tmp_path, annotation_without_image="drop")
    assert [one.file for one in dataset.images] == ["raw/train/a.jpg", "raw/train/b.jpg"]
    assert ("annotation_without_image", "raw/test/b.jpg") in [(one.kind, one.file) for one in dataset.findings]


def test_two_absolute_names_of_one_file_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    write(tmp_path, [image("/x/a.jpg"), image("/y/a.jpg", id=2)], [made(bbox=[1, 2, 3, 4])])
    with pytest.raises(
        InputError, match=r"images\[1\]\.file_name: '/x/a\.jpg' and '/y/a\.jpg' would both be a\.jpg; write"
    ):
        read(tmp_path)


@pytest.mark.parametrize("images", ["{name}", ".", "train2017", "coco/train2017"])
def test_lvis_names_images_by_url(tmp_path: Path, images: str) -> None:
    folder = "coco/train2017" if images.startswith("coco") else "train2017"
    put(tmp_path, f"{folder}/000000000009.jpg")
    lvis = {"id": 1, "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg", "width": 100, "height": 80}
    write(tmp_path, [lvis], [made(bbox=[1, 2, 3, 4])])
    dataset = read(tmp_path, images)
    assert [one.file for one in dataset.images] == [f"raw/{folder}/000000000009.jpg"] and not dataset.findings
    assert dataset.remarks == ["took the names of 1 image from coco_url, as there is no file_name"]


def test_scores_are_said_to_be_those_of_detections(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg")
    boxes = [made(bbox=[1, 2, 3, 4], score=score) for score in (0.9, 0.2, 1.0)]
    write(tmp_path, [image("a.jpg")], boxes)
    dataset = read(tmp_path)
    assert len(next(dataset.images).boxes) == 3 and found(dataset)[0] == ("scores", -1, "kept")
    assert "2 of 3 annotations have a score, as detections have" in dataset.findings[0].detail
    with pytest.raises(InputError, match=r"train\.json: 2 of 3 .*set dataset\.findings\.scores to keep or allow"):
        list(read(tmp_path, scores="error").images)
    (tmp_path / "train.json").write_text(json.dumps(boxes))
    with pytest.raises(InputError, match=r"train\.json: is a list of detections, without images and categories; give"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-32"])
def test_a_json_of_another_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, "train/é.jpg")
    write(tmp_path, [image("é.jpg")], [made(bbox=[1, 2, 3, 4])], encoding)
    assert [one.file for one in read(tmp_path).images] == ["raw/train/é.jpg"]


KINDS = {
    "coco_backslash": "file_name",
    "coco_category_text": None,
    "coco_float_ids": None,
    "coco_iscrowd_null": None,
    "coco_narrow_space": None,
    "coco_segmentation_only": "no_box",
}


def _by_pycocotools(root: Path, split: str) -> list[list[float]]:
    """Boxes of the only image, x1 y1 x2 y2: what its annotations have, or those around pycocotools' masks."""
    coco = COCO()
    coco.dataset = json.loads((root / f"annotations/instances_{split}2017.json").read_text())
    coco.imgs = {one["id"]: one for one in coco.dataset["images"]}
    rows = coco.dataset["annotations"]
    boxes = np.array([one.get("bbox") or coco_mask.toBbox(coco.annToRLE(one)) for one in rows], float).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", KINDS)
def test_files_of_real_users_are_read_as_pycocotools_reads_them(shared: Path, name: str) -> None:
    root = shared / "data/trouble" / name
    splits: Any = {s: [f"annotations/instances_{n}2017.json"] for s, n in (("train", "train"), ("test", "val"))}
    dataset = validate(read_coco(root, splits, "{name}", None), policy(), image_size, problems_of)
    images: list[AnnotatedImage] = list(dataset.images)
    assert [one.split for one in images] == ["train", "test"]
    for one, split in zip(images, ("train", "val"), strict=True):
        assert one.boxes.tolist() == _by_pycocotools(root, split) and one.labels.tolist() == [1]
    assert {finding.kind for finding in dataset.findings} == ({KINDS[name]} if KINDS[name] else set())
