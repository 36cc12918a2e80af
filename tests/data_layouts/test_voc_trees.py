"""VOC trees below a data root: none is left out without a word, and none is read twice."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.data_layouts.tree_copies import copies_among, tree_files
from pipeline.datasets.reading import read_dataset
from pipeline.runtime.errors import InputError
from tests.data_layouts.photos import HEIGHT, PHOTOS, WIDTH, put, put_photo, voc_xml
from tests.data_layouts.writers import voc2007, vocdevkit
from tests.defaults import default_params


def read(root: Path) -> tuple[str, list[str]]:
    """What the line of `frcnn preset` says, and the files of the images that are read."""
    defaults = default_params().dataset
    layout = recognise(root, defaults)
    return layout.what, [image.file for image in read_dataset(root, layout.params(defaults)).images]


def other_tree(root: Path, images: str = "photos", lists: str = "ImageSets/Main") -> None:
    """A tree of images x0, x1, x2 in a folder of another name."""
    for number in range(3):
        put_photo(root / f"{images}/x{number}.jpg")
        put(root / f"Annotations/x{number}.xml", voc_xml(PHOTOS[0], f"x{number}.jpg"))
    if lists:
        put(root / f"{lists}/train.txt", "x0\nx1\nx2\n")


def test_a_tree_of_another_form_beside_a_good_one_is_told(tmp_path: Path) -> None:
    voc2007(tmp_path / "a")
    other_tree(tmp_path / "b")
    what, files = read(tmp_path)
    assert what == "VOC with lists in a; b is left out (it has photos in place of JPEGImages, rename that)"
    assert len(files) == 5 and all(file.startswith("raw/a/") for file in files)
    (tmp_path / "b/photos").rename(tmp_path / "b/JPEGImages")
    what, files = read(tmp_path)
    assert what == "VOC with lists in a and b" and len(files) == 8


def test_a_tree_without_lists_beside_a_good_one_is_told(tmp_path: Path) -> None:
    voc2007(tmp_path / "b")
    other_tree(tmp_path / "a", "JPEGImages", lists="")
    assert read(tmp_path)[0] == "VOC with lists in b; a is left out (no lists)"


def test_a_tree_that_has_a_test_list_alone_is_tested_on(tmp_path: Path) -> None:
    voc2007(tmp_path / "b")
    (tmp_path / "b/ImageSets/Main/test.txt").unlink()
    other_tree(tmp_path / "a", "JPEGImages")
    (tmp_path / "a/ImageSets/Main/train.txt").rename(tmp_path / "a/ImageSets/Main/test.txt")
    layout = recognise(tmp_path, default_params().dataset)
    assert layout.splits == {"train": ["b/trainval"], "test": ["a/test"]}


def test_a_tree_below_a_root_that_is_one_is_told(tmp_path: Path) -> None:
    voc2007(tmp_path)
    other_tree(tmp_path / "more", "JPEGImages")
    shutil.copytree(tmp_path / "Annotations", tmp_path / "backup/Annotations")
    shutil.copytree(tmp_path / "JPEGImages", tmp_path / "backup/JPEGImages")
    shutil.copytree(tmp_path / "ImageSets", tmp_path / "backup/ImageSets")
    what, files = read(tmp_path)
    assert what.endswith("; backup is left out (a copy); more is left out (a tree of its own)") and len(files) == 5


@pytest.mark.parametrize("backup", ["backup/VOC2007", "Copy of VOC2007", "zz", "VOCdevkit/old"])
def test_a_copy_of_a_tree_is_read_once(tmp_path: Path, backup: str) -> None:
    vocdevkit(tmp_path)
    plain = read(tmp_path)[1]
    original = tmp_path / "VOCdevkit/VOC2007"
    shutil.copytree(original, tmp_path / backup)
    (tmp_path / backup / "Annotations/a.xml").unlink()  # a part of a copy
    what, files = read(tmp_path)
    assert files == plain
    assert f"; {backup} is left out (a copy of VOCdevkit/VOC2007)" in what
    (original / "JPEGImages/a.jpg").unlink()  # what is left of the original is a part too
    with pytest.raises(InputError, match="have 3 images of the same names and bytes; move one tree out of the data"):
        read(tmp_path)


def test_equal_copies_without_a_telling_name_are_read_once(tmp_path: Path) -> None:
    voc2007(tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    what, files = read(tmp_path)
    assert what == "VOC with lists in a; b is left out (a copy of a)"
    assert Counter(file.split("/")[1] for file in files) == {"a": 5}


def camera(root: Path, seed: int) -> None:
    """A tree of uncompressed frames, whose names and sizes are those of every other camera."""
    for number in range(4):
        pixels = np.random.default_rng([seed, number]).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        path = root / f"JPEGImages/{number:06}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".bmp", pixels)[1].tobytes())
        put(root / f"Annotations/{number:06}.xml", voc_xml(PHOTOS[1], path.name))
    put(root / "ImageSets/Main/train.txt", "000000\n000001\n")
    put(root / "ImageSets/Main/test.txt", "000002\n000003\n")


@pytest.mark.parametrize("longer", ["", "\n"])
def test_photos_of_two_cameras_are_no_copies(tmp_path: Path, longer: str) -> None:
    camera(tmp_path / "cam_a", 1)
    camera(tmp_path / "cam_b", 2)
    annotation = tmp_path / "cam_a/Annotations/000000.xml"
    annotation.write_text(annotation.read_text() + longer)
    what, files = read(tmp_path)
    assert what == "VOC with lists in cam_a and cam_b"
    assert Counter(file.split("/")[1] for file in files) == {"cam_a": 4, "cam_b": 4}


@pytest.mark.parametrize("part", ["Annotations", "JPEGImages"])
def test_a_tree_whose_files_lie_in_further_folders_is_no_copy(tmp_path: Path, part: str) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "ImageSets/Main/train.txt", "x0\n")
        put_photo(tmp_path / name / "JPEGImages/x0.jpg")
        put(tmp_path / name / "Annotations/x0.xml", voc_xml(PHOTOS[0], "x0.jpg"))
        (tmp_path / name / part / "day1").mkdir()
        for file in (tmp_path / name / part).glob("x0.*"):
            file.rename(tmp_path / name / part / "day1" / file.name)
    trees = {name: tree_files(tmp_path / name, "JPEGImages", ("Annotations", "ImageSets/Main")) for name in "ab"}
    assert not copies_among(trees)


def test_trees_that_share_images_are_read_where_the_user_names_their_lists(tmp_path: Path) -> None:
    voc2007(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    put(tmp_path / "b/Annotations/a.xml", voc_xml(PHOTOS[1], "a.jpg"))
    with pytest.raises(InputError, match="have 5 images of the same names and bytes"):
        read(tmp_path)
    given = {"dataset.voc.train": ["a/train", "b/train"], "dataset.voc.test": ["a/test"]}
    assert recognise(tmp_path, default_params().dataset, given=given).what == "VOC with lists in a and b"
