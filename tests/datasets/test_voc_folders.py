"""VOC as annotation tools lay it out: images of any suffix, other names of folders, XML beside the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.faults.trees import XML

TROUBLE = Path(__file__).resolve().parents[2].parent / "shared/data/trouble"


def put(root: Path, *files: str) -> Path:
    """Write images, annotations of a dog in them, and lists, by their suffixes; a list names what follows its colon."""
    for file in files:
        name, _, listed = file.partition(":")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".xml":
            path.write_text(XML)
        elif path.suffix == ".txt":
            path.write_text("\n".join(listed.split()))
        else:
            pixels = np.full((80, 100, 3), sum(map(ord, name)) % 250, np.uint8)
            path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
    return root


def read(
    root: Path,
    train: Sequence[str],
    test: Sequence[str],
    annotations: str = "Annotations",
    images: str = "JPEGImages",
    **changes: str,
) -> Dataset:
    data = read_voc(root, {"train": train, "val": [], "test": test}, None, None, annotations, images)
    return validate(data, policy(**changes), image_size)


def read_files(dataset: Dataset) -> dict[str, str]:
    """Id -> file, of images that each have the dog."""
    found = list(dataset.images)
    assert all(image.boxes.tolist() == [[10, 20, 30, 40]] for image in found)
    return {image.image_id: image.file.removeprefix("raw/") for image in found}


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".Jpeg", ".png", ".PNG", ".bmp", ".tif", ".webp"])
def test_an_image_may_have_any_suffix(tmp_path: Path, suffix: str) -> None:
    put(tmp_path, f"JPEGImages/a{suffix}", "JPEGImages/b.c.jpg", "Annotations/a.xml", "Annotations/b.c.xml")
    put(tmp_path, f"ImageSets/Main/train.txt:a{suffix}", "ImageSets/Main/test.txt:b.c")
    assert read_files(read(tmp_path, ["train"], ["test"])) == {
        "a": f"JPEGImages/a{suffix}",
        "b.c": "JPEGImages/b.c.jpg",
    }


def test_of_two_images_of_a_name_the_jpg_counts_and_two_others_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "JPEGImages/a.jpg", "JPEGImages/a.png", "JPEGImages/b.png", "Annotations/a.xml", "Annotations/b.xml")
    put(tmp_path, "ImageSets/Main/train.txt:a", "ImageSets/Main/test.txt:b")
    assert read_files(read(tmp_path, ["train"], ["test"])) == {"a": "JPEGImages/a.jpg", "b": "JPEGImages/b.png"}
    put(tmp_path, "JPEGImages/b.jpeg")
    with pytest.raises(InputError, match=r"JPEGImages/b\.png and JPEGImages/b\.jpeg would both be image 'b'; rename"):
        list(read(tmp_path, ["train"], ["test"]).images)


@pytest.mark.parametrize(
    ("annotations", "images", "place"),
    [
        (".", ".", "{0}/{1}.{2}"),
        ("annotations", "images", "{0}/{3}/{1}.{2}"),
        ("annots", "./imgs/", "{0}/{3}/{1}.{2}"),
        ("annotations/{folder}", "images/{folder}", "{3}/{0}/{1}.{2}"),
    ],
)
def test_a_folder_is_a_split_wherever_its_files_lie(tmp_path: Path, annotations: str, images: str, place: str) -> None:
    words = [images.split("/")[-2 if "/" in images else 0], annotations.split("/")[0]]
    for split in ("train", "test"):
        put(tmp_path, *(place.format(split, split[:2], kind, words[kind == "xml"]) for kind in ("jpg", "xml")))
    assert read_files(read(tmp_path, ["train/"], ["test/"], annotations, images)) == {
        f"{split}_{split[:2]}": place.format(split, split[:2], "jpg", words[0]) for split in ("test", "train")
    }


def test_a_folder_holds_all_its_images_and_xml_files_and_no_junk(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "a.xml", "b.PNG", "b.xml", "notes.md.txt:x", "other/c.jpg", "other/c.xml")
    for junk in ("._a.xml", "._a.jpg", "Thumbs.db"):
        (tmp_path / junk).write_bytes(b"\0")
    dataset = read(tmp_path, ["./"], ["other/"], ".", ".")
    assert read_files(dataset) == {"a": "a.jpg", "b": "b.PNG", "other_c": "other/c.jpg"}
    assert dataset.remarks == ["passed over 3 files that systems leave, such as ._a.jpg"]


def test_an_image_or_xml_alone_in_a_folder_is_a_finding(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "train/a.xml", "train/b.xml", "train/c.png", "test/d.jpg", "test/d.xml")
    dataset = read(
        tmp_path, ["train/"], ["test/"], ".", ".", annotation_without_image="drop", image_without_annotation="drop"
    )
    assert read_files(dataset) == {"test_d": "test/d.jpg", "train_a": "train/a.jpg"}
    assert [(finding.file, finding.kind) for finding in dataset.findings] == [
        ("raw/train/b.jpg", "annotation_without_image"),
        ("raw/train/c.xml", "image_without_annotation"),
    ]
    with pytest.raises(InputError, match=r"train/b\.jpg: no such image; add it or remove b from train/"):
        list(read(tmp_path, ["train/"], ["test/"], ".", ".").images)


@pytest.mark.parametrize(
    ("train", "annotations", "expected"),
    [
        ("train/", "Annotations", "train/Annotations: no such folder; set dataset.voc.annotations to the folder"),
        ("empty/", ".", "empty: holds no XML file; correct dataset.voc.train or dataset.voc.annotations"),
        ("gone/", ".", "gone: no such folder; set dataset.voc.annotations"),
        ("../train/", ".", "'../train/' names no split in"),
        ("/", ".", "'/' names no split in"),
        ("train/", "../x", "dataset.voc.annotations: '../x' is not a folder below the data root"),
        ("train/", "/x", "dataset.voc.annotations: '/x' is not a folder below the data root"),
        ("train/", "", "dataset.voc.annotations: '' is not a folder below the data root"),
    ],
)
def test_a_folder_that_is_no_split_is_one_line(tmp_path: Path, train: str, annotations: str, expected: str) -> None:
    put(tmp_path, "train/a.jpg", "train/a.xml", "empty/b.jpg")
    with pytest.raises(InputError) as caught:
        read(tmp_path, [train], ["train/"], annotations, ".")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "splits", "folders", "count"),
    [
        ("voc_other_suffix", (["trainval"], ["test"]), (), 4),
        ("voc_flat_roboflow", (["train/"], ["test/"]), (".", "."), 2),
    ],
)
def test_reads_what_users_have(
    name: str, splits: tuple[list[str], list[str]], folders: tuple[str, ...], count: int
) -> None:
    if not TROUBLE.is_dir():
        pytest.skip("the odd data sets are not on this machine")
    dataset = read(TROUBLE / name, *splits, *folders)
    assert sum(len(image.boxes) for image in dataset.images) >= count and not dataset.findings
