"""The COCO reader: ids with gaps, crowds, folders, text ids, and real photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.coco import read_coco
from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy


def instances(images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> dict[str, Any]:
    known = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}] if categories is None else categories
    return {"info": {"year": 2017}, "images": images, "annotations": annotations, "categories": known}


def image(key: Any, name: str) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": 100, "height": 80}


def box(key: Any, category: Any = 3, bbox: Any = (10, 20, 20, 30), **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": key, "category_id": category, "bbox": bbox, **more}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/b.jpg", "train/a.jpg", "val/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    crowd = box(5, 7, [0, 0, 50, 50], iscrowd=1, segmentation={"counts": [1, 2], "size": [80, 100]})
    train = instances([image(9, "b.jpg"), image(5, "a.jpg")], [box(9), crowd, box(5)])
    val = instances([image(9, "b.jpg")], [box(9, 7, segmentation=[[1, 2, 3, 4, 5, 6]])])
    for name, content in (("train", train), ("val", val)):
        (tmp_path / f"instances_{name}.json").write_text(json.dumps(content))
    return tmp_path


def read(root: Path, classes: list[str] | None = None, images: str = "{name}", **changes: str) -> Dataset:
    splits: Any = {"train": ["instances_train.json"], "val": [], "test": ["instances_val.json"]}
    return validate(read_coco(root, splits, images, classes), policy(**changes))


def test_labels_follow_the_categories_ids_and_ids_of_images_their_paths(root: Path) -> None:
    dataset = read(root)
    a, b, test = dataset.images
    assert dataset.classes == ("dog", "cat") and not dataset.findings
    assert [one.image_id for one in (a, b, test)] == ["train_a", "train_b", "val_b"]
    assert [one.split for one in (a, b, test)] == ["train", "train", "test"]
    assert a.labels.tolist() == [2, 1] and a.iscrowd.tolist() == [True, False]
    assert a.boxes.tolist() == [[0, 0, 50, 50], [10, 20, 30, 50]]
    assert test.labels.tolist() == [2] and (test.width, test.height) == (100, 80)


def test_classes_may_be_chosen_and_ordered(root: Path) -> None:
    dataset = read(root, classes=["cat"])
    assert [one.labels.tolist() for one in dataset.images] == [[1], [], [1]]
    assert [(finding.kind, finding.object) for finding in dataset.findings] == [
        ("unknown_class", 2),
        ("unknown_class", 0),
    ]


def test_annotations_of_images_that_are_not_listed_are_told(root: Path) -> None:
    content = instances([image("a", "a.jpg")], [box("a"), box("z")])
    (root / "instances_train.json").write_text(json.dumps(content))
    dataset = read(root, annotation_without_image="drop")
    assert len(list(dataset.images)) == 2
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [
        ("raw/train/image id z of instances_train.json", "annotation_without_image")
    ]


def test_numbers_beyond_floats_and_nan_are_findings(root: Path) -> None:
    text = json.dumps(instances([image(1, "a.jpg")], [box(1, bbox=[float("nan"), 1, 2, 3]), box(1, bbox=[1, 2, 3, 4])]))
    (root / "instances_train.json").write_text(text.replace("[1, 2, 3, 4]", f"[1, 2, 3, 1{'0' * 400}]"))
    dataset = read(root)
    list(dataset.images)
    assert [finding.kind for finding in dataset.findings] == ["non_finite", "non_finite"]


def test_folders_of_images_by_the_place_of_the_json(root: Path) -> None:
    (root / "train/_annotations.json").write_text(json.dumps(instances([image(1, "a.jpg")], [box(1)])))
    splits: Any = {"train": ["train/_annotations.json"], "test": ["instances_val.json"]}
    first = next(iter(read_coco(root, splits, "{folder}", None).records))
    assert first.file == "b.jpg"  # of the JSON in the root, whose folder is the root
    assert [record.file for record in read_coco(root, splits, "{folder}", None).records] == ["b.jpg", "train/a.jpg"]


def test_reads_tinycoco(shared: Path) -> None:
    splits: Any = {
        "train": ["annotations/instances_train2017.json"],
        "test": ["annotations/instances_val2017.json"],
    }
    dataset = validate(read_coco(shared / "data/tinycoco", splits, "images/{name}", None), policy(), image_size)
    images = list(dataset.images)
    assert len(dataset.classes) == 80 and dataset.classes[0] == "person"
    counts = {split: [len(one.boxes) for one in images if one.split == split] for split in ("train", "test")}
    assert {split: (len(own), sum(own)) for split, own in counts.items()} == {"train": (32, 288), "test": (6, 136)}
    assert any(one.iscrowd.any() for one in images) and not dataset.findings


def _train(root: Path, content: dict[str, Any]) -> None:
    (root / "instances_train.json").write_text(json.dumps(content))


SAME_IDS = [(1, "1"), ("1", 1), (1.0, 1), (1, 1.0), ("1", 1.0), ("1.0", 1), (" 1", 1), (1, "0001"), ("0001", 1)]


@pytest.mark.parametrize(("listed", "used"), SAME_IDS)
def test_ids_that_mean_one_number_are_one(root: Path, listed: Any, used: Any) -> None:
    other = {"id": 2, "name": "cat"}
    _train(root, instances([image(listed, "a.jpg")], [box(used, used)], [{"id": listed, "name": "dog"}, other]))
    dataset = read(root, classes=["dog", "cat"])
    assert next(dataset.images).labels.tolist() == [1]
    assert not [finding for finding in dataset.findings if finding.file.endswith("train.json")]


def test_texts_with_leading_zeros_are_ids_of_their_own(root: Path) -> None:
    _train(
        root, instances([image("01", "a.jpg"), image("1", "b.jpg")], [box("01", 7), box(1, 3), box(1, 3, [1, 1, 9, 9])])
    )
    assert [one.labels.tolist() for one in read(root).images][:2] == [[2], [1, 1]]


@pytest.mark.parametrize(("first", "second"), [(1, "1"), (1, 1.0), ("1", "1.0"), (1, 1)])
def test_two_categories_or_images_of_one_id_are_refused(root: Path, first: Any, second: Any) -> None:
    categories = [{"id": first, "name": "dog"}, {"id": second, "name": "cat"}]
    _train(root, instances([image(9, "b.jpg")], [], categories))
    with pytest.raises(InputError, match=r"categories\[1\]\.id is .*, which 'dog' has too; give each"):
        read(root)
    _train(root, instances([image(first, "a.jpg"), image(second, "b.jpg")], [box(first)]))
    with pytest.raises(InputError, match=r"images\[1\]\.id is .*, which a\.jpg has too; give each"):
        read(root)


@pytest.mark.parametrize("key", [True, None, 1.5, [], {}, float("nan")])
def test_what_is_no_id_is_refused(root: Path, key: Any) -> None:
    for content, place in (
        (instances([image(key, "a.jpg")], []), r"images\[0\]\.id"),
        (instances([image(5, "a.jpg")], [box(key)]), r"annotations\[0\]\.image_id"),
        (instances([image(5, "a.jpg")], [box(5, key)]), r"annotations\[0\]\.category_id"),
        (instances([image(5, "a.jpg")], [], [{"id": key, "name": "dog"}]), r"categories\[0\]\.id"),
    ):
        _train(root, content)
        with pytest.raises(InputError, match=f"{place} is .*expected a whole number or a text"):
            read(root)


@pytest.mark.parametrize(
    ("crowd", "expected"), [(None, False), (float("nan"), False), (0.0, False), ("0", False), (True, True), ("1", True)]
)
def test_iscrowd_may_be_null_or_a_text(root: Path, crowd: Any, expected: bool) -> None:
    _train(root, instances([image(5, "a.jpg")], [box(5, iscrowd=crowd, area=None)]))
    assert next(read(root).images).iscrowd.tolist() == [expected]


def test_objects_of_a_category_that_is_not_listed_are_told_to_be_named(root: Path) -> None:
    _train(root, instances([image(5, "a.jpg")], [box(5, 77)]))
    dataset = read(root, unknown_class="drop")
    assert not next(dataset.images).labels.size
    assert dataset.without_boxes()["train"] == (
        "train has no box left: 1 unknown_class dropped (class 'id 77' is not among the classes); "
        "give every object a class that has a name"
    )


def test_a_category_may_be_named_by_a_number(root: Path) -> None:
    _train(root, instances([image(5, "a.jpg")], [box(5)], [{"id": 3, "name": 12}]))
    assert "12" in read(root).classes


@pytest.mark.parametrize(
    "name", ["Screenshot at 3.04.05\u202fPM.jpg", "写真\u3000一.jpg", "👨\u200d👩.jpg", " a b 1.jpg"]
)
def test_a_name_of_any_letters_and_spaces_is_that_file(root: Path, name: str) -> None:
    (root / "train/b.jpg").rename(root / "train" / name)
    (root / "instances_train.json").write_text(json.dumps(instances([image(9, name)], [box(9)])))
    images = list(read(root).images)
    assert sorted(one.file for one in images) == sorted([f"raw/train/{name}", "raw/val/b.jpg"])


@pytest.mark.parametrize(
    "name", ["a\nb.jpg", "a\u2028b.jpg", "\ud800.jpg", "..\\b.jpg", "a\x7f.jpg", "x" * 256, "a/" * 1600]
)
def test_a_name_that_cannot_be_is_one_line(root: Path, name: str) -> None:
    (root / "instances_train.json").write_text(json.dumps(instances([image(9, name)], [box(9)])))
    with pytest.raises(InputError, match="is not a path below the data root") as caught:
        read(root)
    assert len(str(caught.value).splitlines()) == 1
    str(caught.value).encode()
