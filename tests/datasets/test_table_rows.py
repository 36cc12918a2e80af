"""Rows of a table: the image and the split they belong to, flags and scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.errors import InputError
from tests.datasets.tables import by_image, put, read


def test_the_image_beside_a_table_counts_before_one_of_its_name_in_the_root(tmp_path: Path) -> None:
    for folder in ("train/", "test/"):
        rows = "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,1,2,30,40\n"
        put(tmp_path, rows, f"{folder}boxes.csv", [f"{folder}a.jpg", "a.jpg"])
    dataset = read(tmp_path, {"train": ["train/boxes.csv"], "test": ["test/boxes.csv"]})
    assert {image.file for image in dataset.images} == {"raw/train/a.jpg", "raw/test/a.jpg"}


@pytest.mark.parametrize("place", ["", "train/", "deep/train/"])
def test_a_table_a_split_with_its_images_beside_it(tmp_path: Path, place: str) -> None:
    test = place.replace("train", "test") or "t/"
    for folder, name in ((place, "a.jpg"), (test, "b.jpg")):
        rows = f"filename,width,height,class,xmin,ymin,xmax,ymax\n{name},2000,2000,dog,1,2,30,40\n"
        put(tmp_path, rows, f"{folder}_annotations.csv", [f"{folder}{name}"])
    splits = {"train": [f"{place}_annotations.csv"], "test": [f"{test}_annotations.csv"]}
    dataset = read(tmp_path, splits)
    box = [[1, 1, 2, 30, 40]]
    assert by_image(dataset) == {(f"{place}a.jpg", "train"): box, (f"{test}b.jpg", "test"): box}
    assert {finding.kind for finding in dataset.findings} == {"table_form"}


def test_an_image_of_two_tables_is_in_two_splits(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\nb.jpg,1,2,30,40,dog\n", "train.csv")
    put(tmp_path, "b.jpg,1,2,30,40,dog\n", "test.csv")
    with pytest.raises(InputError, match="image 'b' is both in train and in test"):
        list(read(tmp_path, {"train": ["train.csv"], "test": ["test.csv"]}).images)
    (tmp_path / "test.csv").write_text("file,x,y,width,height,class\nb.jpg,1,2,30,40,dog\n")
    with pytest.raises(
        InputError, match=r"test\.csv: has boxes as x, y, width, height, and train\.csv as x1, y1, x2, y2"
    ):
        read(tmp_path, {"train": ["train.csv"], "test": ["test.csv"]})


def test_without_a_split_the_ways_to_one_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\n")
    with pytest.raises(
        InputError, match=r"no column 'split'; write one, name a table for each .*dataset\.split to \{val: \.1"
    ):
        read(tmp_path)


def test_all_rows_of_a_table_without_splits_can_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg,1,2,30,40,dog\nb.jpg,1,2,30,40,dog\n")
    box = [[1, 1, 2, 30, 40]]
    assert by_image(read(tmp_path, {"train": ["./"]})) == {(f"{n}.jpg", "train"): box for n in "ab"}


@pytest.mark.parametrize("flag", ["0.0", "1.0", "0", "1", "", "False", "TRUE"])
def test_flags_may_be_what_pandas_makes_of_them(tmp_path: Path, flag: str) -> None:
    put(tmp_path, f"file,split,class,x1,y1,x2,y2,difficult,is_crowd\na.jpg,train,dog,1,2,30,40,{flag},{flag}\n")
    image = next(read(tmp_path, {"train": ["train"]}).images)
    expected = flag in ("1.0", "1", "TRUE")
    assert image.difficult.tolist() == image.iscrowd.tolist() == [expected]


@pytest.mark.parametrize("score", ["score", "confidence"])
def test_scores_are_said_to_be_those_of_detections(tmp_path: Path, score: str) -> None:
    header, rows = f"file,split,class,x1,y1,x2,y2,{score}\n", "a.jpg,train,dog,1,2,30,40,{}\n"
    put(tmp_path, header + rows.format(0.8) + rows.format(1) + rows.format(""))
    findings = read(tmp_path, {"train": ["train"]}, duplicate_box="keep").findings
    dataset = read(tmp_path, {"train": ["train"]})
    list(dataset.images)
    assert dataset.findings[0].kind != "duplicate_box" and not findings
    assert [f.detail for f in dataset.findings if f.kind == "scores"] == [
        "1 of 3 rows have a score, as detections have and ground truth has not"
    ]
    put(tmp_path, header + rows.format(1) + rows.format(1.0))
    dataset = read(tmp_path, {"train": ["train"]})
    list(dataset.images)
    assert "scores" not in {f.kind for f in dataset.findings}


@pytest.mark.parametrize(
    "name", ["/home/me/set/p/a.jpg", "D:\\set\\p\\a.jpg", "p\\a.jpg", "{root}/p/a.jpg", "images\\p\\a.jpg", "p/a.jpg"]
)
def test_names_of_other_systems_are_the_files_that_are_meant(tmp_path: Path, name: str) -> None:
    images = "images/p/a.jpg" if name.startswith("images") else "p/a.jpg"
    rows = f"{name.format(root=tmp_path)},train,dog,1,2,30,40\n{images},train,cat,1,2,30,40\n"
    put(tmp_path, "file,split,class,x1,y1,x2,y2\n" + rows, images=[images])
    dataset = read(tmp_path, {"train": ["train"]})
    assert by_image(dataset) == {(images, "train"): [[2, 1, 2, 30, 40], [1, 1, 2, 30, 40]]}
    findings = [(f.kind, f.action) for f in dataset.findings]
    assert findings == ([] if name == "p/a.jpg" else [("file_name", f"read as {images}")])


def test_names_without_their_folder_are_found_in_images(tmp_path: Path) -> None:
    put(tmp_path, "file,split,class,x1,y1,x2,y2\na.jpg,train,dog,1,2,30,40\n", images=["images/a.jpg"])
    dataset = read(tmp_path, {"train": ["train"]})
    assert by_image(dataset) == {("images/a.jpg", "train"): [[1, 1, 2, 30, 40]]}
    assert [(f.kind, f.action) for f in dataset.findings] == [("file_name", "read as images/a.jpg")]
