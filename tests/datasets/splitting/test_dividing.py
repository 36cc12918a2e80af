"""Data without splits of their own are divided by `dataset.split` in every format; related photos stay together."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import cv2
import pytest
from pydantic import ValidationError

from pipeline.datasets.base import Dataset
from pipeline.datasets.reading import read_dataset
from pipeline.datasets.splitting.dividing import split_table
from pipeline.datasets.splitting.pool import remedy_as_option
from pipeline.runtime.errors import InputError
from tests.datasets.splitting.undivided import KINDS, NAMES, class_of, file_of, overlay, params, photo, plant
from tests.in_process import run_stage

SHARES = {"val": 0.1, "test": 0.2}


def splits_of(dataset: Dataset) -> dict[str, str]:
    """Split of each image, by its path below the root; both as read and in the rows."""
    found = {image.file.removeprefix("raw/"): image.split for image in dataset.images}
    divided = {row.file: row.split for row in dataset.division if row.file in found}
    assert found == {**found, **divided} and {*found.values()} >= {*divided.values()}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_divides_data_without_lists(tmp_path: Path, kind: str) -> None:
    plant(kind, tmp_path)
    dataset = read_dataset(tmp_path, params(kind, **SHARES))
    images = list(dataset.images)
    assert [image.file for image in images] == [f"raw/{file_of(kind, name)}" for name in NAMES]
    assert [image.boxes.tolist() for image in images] == [[[10, 20, 30, 40]]] * len(NAMES)
    assert [dataset.classes[image.labels[0] - 1] for image in images] == [class_of(name) for name in NAMES]
    assert Counter(image.split for image in images) == {"train": 7, "val": 1, "test": 2}
    of_class = Counter((image.split, int(image.labels[0])) for image in images)
    assert of_class["test", 1] == of_class["test", 2] == 1
    assert not dataset.findings and [row.file for row in dataset.division] == sorted(
        row.file for row in dataset.division
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_dataset_split_the_refusal_names_it(tmp_path: Path, kind: str) -> None:
    plant(kind, tmp_path)
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path, params(kind))
    assert "set dataset.split to {val: .1, test: .2}" in str(caught.value) and "\n" not in str(caught.value)
    assert "divide the images of train: --set 'dataset.split={val: .1, test: .2}'" in remedy_as_option(
        str(caught.value)
    )


def test_a_held_out_split_of_the_data_is_kept_where_it_has_no_share(tmp_path: Path) -> None:
    plant("table", tmp_path)
    rows = (tmp_path / "boxes.csv").read_text().splitlines()
    split = ["split", *["train"] * 6, *["test"] * 4]
    (tmp_path / "boxes.csv").write_text("".join(f"{row},{own}\n" for row, own in zip(rows, split, strict=True)))
    own = splits_of(read_dataset(tmp_path, params("table", val=0.5)))
    assert [own[f"{name}.png"] for name in NAMES[6:]] == ["test"] * 4
    assert Counter(own.values()) == {"train": 3, "val": 3, "test": 4}
    assert len(read_dataset(tmp_path, params("table", val=0.5)).division) == 6
    assert Counter(splits_of(read_dataset(tmp_path, params("table", test=0.5))).values()) == {"train": 3, "test": 3}


def test_the_split_depends_on_the_seed_and_the_names_alone(tmp_path: Path) -> None:
    one, other = plant("table", tmp_path / "one"), plant("table", tmp_path / "other")
    header, *rows = (other / "boxes.csv").read_text().splitlines()
    (other / "boxes.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    first = splits_of(read_dataset(one, params("table", **SHARES)))
    assert splits_of(read_dataset(other, params("table", **SHARES))) == first
    assert any(splits_of(read_dataset(one, params("table", **SHARES, seed=seed))) != first for seed in (1, 2, 3))


def test_copies_and_nearly_equal_photos_stay_together(tmp_path: Path) -> None:
    plant("table", tmp_path)
    for number in range(3):
        shutil.copy(tmp_path / "p0.png", tmp_path / f"copy{number}.png")
        cv2.imwrite(str(tmp_path / f"saved{number}.jpg"), photo(1, 200 + 40 * number), [cv2.IMWRITE_JPEG_QUALITY, 40])
    cv2.imwrite(str(tmp_path / "brighter.png"), cv2.convertScaleAbs(photo(2), alpha=1.1, beta=5))
    names = [*(f"copy{i}.png" for i in range(3)), *(f"saved{i}.jpg" for i in range(3)), "brighter.png"]
    with (tmp_path / "boxes.csv").open("a") as file:
        file.writelines(f"{name},dog,10,20,30,40\n" for name in names)
    groups = [["p0.png", *names[:3]], ["p1.png", *names[3:6]], ["p2.png", "brighter.png"]]
    for seed in range(5):
        dataset = read_dataset(tmp_path, params("table", val=0.2, test=0.3, seed=seed))
        by_file = {row.file: row for row in dataset.division}
        for group in groups:
            assert len({by_file[name].split for name in group}) == 1
            assert {by_file[name].group for name in group} == {min(group)}
        assert {by_file[name].by for name in groups[0]} == {"bytes+look"}
        assert {by_file[name].by for name in (*groups[1], *groups[2])} == {"look"}
        assert all(not by_file[f"{name}.png"].group for name in NAMES[3:])
    assert any(
        "10 images stay together in 3 groups (4 by equal bytes, 10 by nearly" in line for line in dataset.remarks
    )
    alone = {row.file: row for row in read_dataset(tmp_path, params("table", **SHARES, near=False)).division}
    assert {row.file for row in alone.values() if row.group} == set(groups[0])


def test_images_whose_names_a_pattern_joins_stay_together(tmp_path: Path) -> None:
    plant("table", tmp_path)
    for split in ({"group": r"p[0-4]"}, {"group": r"(p)[0-4]"}):
        dataset = read_dataset(tmp_path, params("table", **SHARES, **split))
        groups = Counter(row.group for row in dataset.division)
        if "(" in split["group"]:
            assert groups == {"p0.png": 5, "": 5} and len({row.split for row in dataset.division if row.group}) == 1
            assert {row.by for row in dataset.division if row.group} == {"name"}
        else:
            assert groups == {"": 10}
        assert "dataset.split.group is not found in the paths of 5 of 10 images" in dataset.remarks


@pytest.mark.parametrize("group", ["(p[0-4])?", "(?:(p[0-4])|p)", "(p[0-4]|)", "(x)?(p[0-4])?"])
def test_images_in_which_an_optional_group_finds_nothing_stand_alone(tmp_path: Path, group: str) -> None:
    plant("table", tmp_path)
    dataset = read_dataset(tmp_path, params("table", **SHARES, group=group, near=False))
    assert {row.group for row in dataset.division} == {""}
    assert "dataset.split.group is not found in the paths of 5 of 10 images" in dataset.remarks
    with pytest.raises(InputError, match="is found in the path of no image"):
        read_dataset(tmp_path, params("table", **SHARES, group="(x)?"))


def test_one_image_joins_groups_of_different_reasons(tmp_path: Path) -> None:
    plant("table", tmp_path)
    shutil.copy(tmp_path / "p0.png", tmp_path / "q9.png")
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write("q9.png,dog,10,20,30,40\n")
    rows = read_dataset(tmp_path, params("table", **SHARES, group=r"[pq](9)\.")).division
    together = [row for row in rows if row.group]
    assert [(row.file, row.by) for row in together] == [
        ("p0.png", "bytes+look"),
        ("p9.png", "name"),
        ("q9.png", "bytes+look+name"),
    ]
    assert len({row.split for row in together}) == 1


def test_images_that_are_not_there_or_flat_take_part_as_they_can(tmp_path: Path) -> None:
    plant("table", tmp_path)
    for name, gray in (("flat.png", 10), ("flatter.png", 200)):
        cv2.imwrite(str(tmp_path / name), photo(0) * 0 + gray)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with (tmp_path / "boxes.csv").open("a") as file:
        file.writelines(f"{name},dog,10,20,30,40\n" for name in ("flat.png", "flatter.png", "broken.png", "gone.png"))
    dropping = params("table", **SHARES)
    policy = dropping.findings.model_copy(update={"annotation_without_image": "drop", "undecodable": "drop"})
    dataset = read_dataset(tmp_path, dropping.model_copy(update={"findings": policy}))
    assert "gone.png" not in splits_of(dataset)
    assert {row.file: row.split for row in dataset.division}["gone.png"] == "train"
    assert all(not row.group for row in dataset.division)


def test_what_cannot_be_divided_ends_in_one_line(tmp_path: Path) -> None:
    plant("table", tmp_path)
    with pytest.raises(InputError, match=r"dataset.split.group: 'x' is found in the path of no image, such as p0.png;"):
        read_dataset(tmp_path, params("table", **SHARES, group="x"))
    with pytest.raises(
        InputError, match=r"10 images make 1 group .* too few for 3 splits; .* set dataset.split.group to null"
    ):
        read_dataset(tmp_path, params("table", **SHARES, group="(p)", near=False))
    for name in NAMES:
        shutil.copy(tmp_path / "p0.png", tmp_path / f"{name}.png") if name != "p0" else None
    with pytest.raises(InputError, match=r"10 images make 1 group"):
        read_dataset(tmp_path, params("table", **SHARES))
    (tmp_path / "boxes.csv").write_text("file,class,x1,y1,x2,y2\np0.png,dog,1,2,3,4\n")
    with pytest.raises(InputError, match=r"1 image of train cannot be divided into 2 splits; add images"):
        read_dataset(tmp_path, params("table", test=0.2))
    for wrong, why in (
        ({"val": 0.5, "test": 0.5}, "leave train a share"),
        ({"val": 0.0}, "greater than 0"),
        ({"test": 0.2, "group": "("}, "not a regular expression"),
    ):
        with pytest.raises(ValidationError, match=why):
            params("table", **wrong)
    with pytest.raises(ValidationError, match=r"of shapes, set shapes\.val and shapes\.test"):
        params("shapes", test=0.2)


def test_a_large_group_that_no_share_fits_is_told(tmp_path: Path) -> None:
    plant("table", tmp_path)
    remarks = read_dataset(tmp_path, params("table", test=0.2, group=r"(p)[0-5]")).remarks
    assert not any("in place of" in line for line in remarks)
    remarks = read_dataset(tmp_path, params("table", test=0.5, group=r"(p)[0-8]")).remarks
    assert any(
        re.match("test has (10|90)% of the images in place of 50%, as 9 stay together", line) for line in remarks
    )


def test_the_stage_writes_a_row_of_each_image(tmp_path: Path) -> None:
    plant("table", tmp_path / "raw")
    out = run_stage("dataset", tmp_path, params={"dataset": overlay("table", **SHARES)}, raw=tmp_path / "raw")
    expected = split_table(read_dataset(tmp_path / "raw", params("table", **SHARES)).division)
    written = (out / "split.csv").read_text()  # without the reasons, on which nothing depends
    assert written == "".join(",".join(line.split(",")[:2]) + "\n" for line in expected.splitlines())
    assert written.startswith("file,split\np0.png,") and len(written.splitlines()) == 1 + len(NAMES)
    rows = (tmp_path / "raw/boxes.csv").read_text().splitlines()
    splits = ["split", *["train"] * 8, *["test"] * 2]
    (tmp_path / "raw/boxes.csv").write_text("".join(f"{row},{own}\n" for row, own in zip(rows, splits, strict=True)))
    params_of_lists = {"dataset": overlay("table")}
    out = run_stage("dataset", tmp_path, tmp_path / "out", params=params_of_lists, raw=tmp_path / "raw")
    assert not (out / "split.csv").exists()
