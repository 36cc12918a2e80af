"""Which images YOLO's lists and folders name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.datasets.yolo_set import read, yolo_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return yolo_set(tmp_path)


def test_folders_may_be_written_large(root: Path) -> None:
    (root / "images").rename(root / "Images")
    (root / "labels").rename(root / "Labels")
    data = read_yolo(root, {"train": ["Images/train"], "val": [], "test": ["Images/val"]}, "data.yaml")
    images = list(validate(data, policy(), image_size).images)
    assert [len(image.boxes) for image in images] == [2, 0, 0]
    (root / "Images/train/b.jpg").unlink()
    data = read_yolo(root, {"train": ["Images/train"], "val": [], "test": ["Images/val"]}, "data.yaml")
    with pytest.raises(InputError, match=r"Images/train/b\.\*: no such image"):
        list(validate(data, policy(), image_size).images)


LISTS = {
    "absolute": ("/home/other/set/images/val/c.jpg", "/home/other/set/images/val/d.jpg"),
    "of darknet": ("data/images/val/c.jpg", "data/images/val/d.jpg"),
    "of Windows": ("C:\\\\set\\images\\val\\c.jpg", "C:\\set\\images\\val\\d.jpg"),
    "climbing": ("../images/val/c.jpg", "../../set/images/val/d.jpg"),
    "mixed": ("images/val/c.jpg", "./images/val/d.jpg"),
}


@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS.keys())
@pytest.mark.parametrize("name", ["val.txt", "lists/val.txt"])
def test_a_list_of_another_machine_or_tool_means_the_files_that_are_here(
    root: Path, lines: tuple[str, str], name: str
) -> None:
    cv2.imwrite(str(root / "images/val/d.jpg"), np.zeros((80, 100, 3), np.uint8))
    (root / "lists").mkdir()
    (root / name).write_text("\n".join(lines))
    dataset = read(root, name, unknown_class="ignore")
    images = [image for image in dataset.images if image.split == "test"]
    told = [finding.detail for finding in dataset.findings if finding.kind == "file_name"]
    from_its_folder = name == "lists/val.txt" and lines[0] == "../images/val/c.jpg"
    assert len(told) == (0 if lines[0] == "images/val/c.jpg" else 2 - from_its_folder)
    assert all(f"of {name}: " in text for text in told)
    assert [image.file for image in images] == ["raw/images/val/c.jpg", "raw/images/val/d.jpg"]
    assert [len(image.boxes) for image in images] == [1, 0]


def test_a_list_may_name_files_from_its_own_folder(root: Path) -> None:
    (root / "images/val/list.txt").write_text("./c.jpg\n")
    dataset = read(root, "images/val/list.txt")
    assert [image.file for image in dataset.images][-1] == "raw/images/val/c.jpg"
    assert [finding.kind for finding in dataset.findings] == ["unknown_class"]


def test_two_listed_paths_are_never_silently_one_file(root: Path) -> None:
    (root / "val.txt").write_text("/one/images/val/c.jpg\n/two/images/val/c.jpg\n")
    with pytest.raises(
        InputError, match=r"'/one/.*' and '/two/.*' would both be images/val/c\.jpg; write them relative"
    ):
        read(root, "val.txt")


def test_a_listed_accent_may_be_one_character_or_two(root: Path) -> None:
    (root / "images/val/c.jpg").rename(root / "images/val/caf\u00e9.jpg")
    (root / "labels/val/c.txt").rename(root / "labels/val/caf\u00e9.txt")
    (root / "val.txt").write_text("images/val/cafe\u0301.jpg\n", encoding="utf-8")
    dataset = read(root, "val.txt")
    assert [image.file for image in dataset.images][-1] == "raw/images/val/caf\u00e9.jpg"
    assert "file_name" in {finding.kind for finding in dataset.findings}


def test_a_listed_image_that_is_not_there_is_missed_where_the_others_are(root: Path) -> None:
    (root / "val.txt").write_text("/set/images/val/c.jpg\n/set/images/val/gone.jpg\n")
    with pytest.raises(InputError, match=r"images/val/gone\.jpg: no such image; add it or remove gone from val\.txt"):
        list(read(root, "val.txt").images)
    (root / "val.txt").write_text("/set/photos/gone.jpg\n")
    with pytest.raises(InputError, match=r"line 1: '/set/photos/gone\.jpg' is not a path below the data root"):
        list(read(root, "val.txt").images)


def test_the_data_root_itself_may_be_the_folder_of_a_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((80, 100, 3), ord(name), np.uint8))
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "test.txt").write_text("b.jpg\n")
    data = read_yolo(tmp_path, {"train": ["."], "val": [], "test": ["test.txt"]}, "classes.txt")
    dataset = validate(data, policy(same_image_in_train_and_test="drop"), image_size)
    assert [(image.image_id, image.split, len(image.boxes)) for image in dataset.images] == [
        ("a", "train", 1),
        ("b", "test", 1),
    ]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".gif", ".GIF", ".dib", ".TIF", ".apng"])
def test_images_of_every_suffix_that_is_read_are_taken(root: Path, suffix: str) -> None:
    (root / "images/train/b.jpg").rename(root / f"images/train/b{suffix}")
    first = next(read(root).images)
    assert first.file == f"raw/images/train/b{suffix}" and len(first.boxes) == 2


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".HEIC", ".jp2"])
def test_an_image_of_a_kind_that_is_not_read_is_a_finding(root: Path, suffix: str) -> None:
    (root / f"images/train/e{suffix}").write_bytes(b"\0\0\0 ftypheic" + bytes(100))
    (root / "labels/train/e.txt").write_text("0 .5 .5 .5 .5\n")
    data = read_yolo(root, {"train": ["images/train"], "val": [], "test": ["images/val"]}, "data.yaml")
    dataset = validate(data, policy(undecodable="drop", mode="fix"), image_size, problems_of)
    assert len(list(dataset.images)) == 3
    assert [(f.file, f.kind) for f in dataset.findings if f.kind == "undecodable"] == [
        (f"raw/images/train/e{suffix}", "undecodable")
    ]


def test_the_original_beside_a_converted_image_is_no_second_one(root: Path) -> None:
    (root / "images/train/b.heic").write_bytes(b"\0\0\0 ftypheic" + bytes(100))
    dataset = read(root)
    assert len(list(dataset.images)) == 3
    assert [finding.kind for finding in dataset.findings] == ["unknown_class"]


def test_what_systems_leave_is_passed_over_in_folders_and_lists_and_told_once(root: Path) -> None:
    for name in ("train/._b.jpg", "train/.DS_Store", "train/.ipynb_checkpoints/b-checkpoint.jpg", "val/._c.jpg"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"\0\5\x16\7")
    (root / "labels/train/._b.txt").write_bytes(b"\0\5\x16\7")
    (root / "val.txt").write_text("images/val/._c.jpg\nimages/val/c.jpg\n")
    dataset = read(root, "val.txt")
    assert len(list(dataset.images)) == 3 and [finding.kind for finding in dataset.findings] == ["unknown_class"]
    assert dataset.remarks == ["passed over 4 files that systems leave, such as images/train/.DS_Store"]


def test_images_and_labels_below_linked_folders_are_read(root: Path) -> None:
    (root / "images/train/day").rename(root / "photos")
    (root / "images/train/day").symlink_to("../../photos")
    (root / "labels/train/day").rename(root / "texts")
    (root / "labels/train/day").symlink_to("../../texts")
    assert [image.image_id for image in read(root).images] == ["images_train_b", "images_train_day_a", "images_val_c"]


def test_a_name_with_a_line_break_is_one_line(root: Path) -> None:
    (root / "images/train/b.jpg").rename(root / "images/train/b\nb.jpg")
    with pytest.raises(InputError, match=r"'images/train/b\\\\nb.jpg' has a control character.*; rename it"):
        read(root)
