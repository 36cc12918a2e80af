"""The YOLO reader: images and their label files, names in two forms, and data sets of real users."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.datasets.yolo_set import read, yolo_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return yolo_set(tmp_path)


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
@pytest.mark.parametrize("test", ["images/val", "val.txt"])
def test_reads_boxes_as_shares_of_the_sides(root: Path, test: str, names: str) -> None:
    dataset = read(root, test, names)
    b, a, c = dataset.images
    assert dataset.classes == ("cat", "dog")
    assert [one.image_id for one in (b, a, c)] == ["images_train_b", "images_train_day_a", "images_val_c"]
    assert np.allclose(b.boxes, [[10, 20, 30, 40], [0, 0, 100, 80]]) and b.labels.tolist() == [2, 1]
    assert len(a.boxes) == 0 and c.split == "test" and len(c.boxes) == 0
    assert [(finding.object, finding.kind) for finding in dataset.findings] == [(0, "unknown_class")]


@pytest.mark.parametrize(("action", "images", "findings"), [("keep", 3, 1), ("allow", 3, 0), ("drop", 2, 1)])
def test_an_image_without_a_label_file_has_no_objects(root: Path, action: str, images: int, findings: int) -> None:
    (root / "labels/train/day/a.txt").unlink()
    assert policy().no_label_file == "keep"
    dataset = read(root, no_label_file=action, image_without_annotation="error")
    found = list(dataset.images)
    assert len(found) == images and all(len(image.boxes) == 0 for image in found if image.image_id.endswith("day_a"))
    assert [finding.kind for finding in dataset.findings] == ["no_label_file"] * findings + ["unknown_class"]
    assert {finding.action for finding in dataset.findings[:-1]} <= {"kept" if images == 3 else "dropped"}


def test_a_policy_of_error_ends_at_an_image_without_a_label_file(root: Path) -> None:
    (root / "labels/train/day/a.txt").unlink()
    with pytest.raises(
        InputError, match=r"labels/train/day/a\.txt: no such annotation; .*findings\.no_label_file to drop or"
    ):
        list(read(root, no_label_file="error").images)


def test_labels_may_lie_beside_images_in_a_folder_called_images(root: Path) -> None:
    (root / "labels/train/b.txt").rename(root / "images/train/b.txt")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [2, 1]
    (root / "labels/train/b.txt").write_text("0 .5 .5 .5 .5\n")  # which YOLO itself reads
    assert next(read(root).images).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "splits", "kind"),
    [
        ("yolo_polygon", ("images/train", "images/val"), "no_box"),
        ("yolo_list_absolute", ("train.txt", "val.txt"), "file_name"),
    ],
)
def test_reads_what_users_have(name: str, splits: tuple[str, str], kind: str) -> None:
    trouble = Path(__file__).resolve().parents[2].parent / "shared/data/trouble"
    if not trouble.is_dir():
        pytest.skip("the odd data sets are not on this machine")
    data = read_yolo(trouble / name, {"train": [splits[0]], "val": [], "test": [splits[1]]}, "data.yaml")
    dataset = validate(data, policy(), image_size)
    lines = sum(len(path.read_text().split("\n")) - 1 for path in (trouble / name / "labels").rglob("*.txt"))
    assert sum(len(image.boxes) for image in dataset.images) == lines > 0
    assert {finding.kind for finding in dataset.findings} == {kind}


@pytest.mark.parametrize("label", ["labels/train/z.txt", "labels/train/gone/z.txt", "labels/val/z.txt"])
@pytest.mark.parametrize("text", ["0 .5 .5 .5 .5\n", "\n"])
def test_labels_without_an_image_are_told(root: Path, label: str, text: str) -> None:
    (root / label).parent.mkdir(exist_ok=True)
    (root / label).write_text(text)
    with pytest.raises(InputError, match=r"images/.*z\.\*: no such image; add it or remove z from images/"):
        list(read(root).images)
    dataset = read(root, annotation_without_image="drop")
    assert len(list(dataset.images)) == 3
    found = [finding.file for finding in dataset.findings if finding.kind == "annotation_without_image"]
    assert found == [f"raw/{label.replace('labels', 'images')[:-4]}.*"]


def test_labels_beside_the_images_are_told_too_but_no_notes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / "a.jpg"), np.full((80, 100, 3), len(split), np.uint8))
        (tmp_path / split / "a.txt").write_text("0 .5 .5 .5 .5\n")
        (tmp_path / split / "classes.txt").write_text("cat\n")
        (tmp_path / split / "README.txt").write_text("This is a data set of cats.\n")
        (tmp_path / split / "._a.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "val/gone.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    data = read_yolo(tmp_path, {"train": ["train"], "val": [], "test": ["val"]}, "data.yaml")
    dataset = validate(data, policy(annotation_without_image="drop"), image_size)
    assert len(list(dataset.images)) == 2
    assert [(f.file, f.kind) for f in dataset.findings] == [("raw/val/gone.*", "annotation_without_image")]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("names: [0, 1]", ("0", "1")),
        ("names: [yes, no]", ("yes", "no")),
        ("names: [null, 1.0]", ("null", "1.0")),
        ("names: {1: b, 0: 0x1F}", ("0x1F", "b")),
        ("names:\n- 2019-01-01\n- ~\n", ("2019-01-01", "~")),
    ],
)
def test_names_of_yaml_are_as_they_are_written(root: Path, text: str, classes: tuple[str, ...]) -> None:
    (root / "data.yaml").write_text(text)
    assert read(root).classes == classes


@pytest.mark.parametrize("text", ["cat\n\ndog\n", "\ncat\ndog\n"])
def test_an_empty_line_among_the_names_is_refused(root: Path, text: str) -> None:
    (root / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=r"classes\.txt: a class is called '', which is not a name"):
        read(root, names="classes.txt")
