"""A listed photo that is missing is missed, whatever lies elsewhere under its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.datasets.faults import Faults
from pipeline.datasets.yolo_lists import YoloLists

THERE, OTHER = "images/train/a.jpg", "c.jpg"


@pytest.mark.parametrize("turn", [1, -1], ids=["found first", "missing first"])
@pytest.mark.parametrize(
    ("folder", "found", "missing", "meant"),
    [
        ("", "/m/set/images/train/a.jpg", "/m/set/images/train/c.jpg", "images/train/c.jpg"),
        ("", r"D:\set\images\train\a.jpg", r"D:\set\images\val\c.jpg", "images/val/c.jpg"),
        ("", "data/images/train/a.jpg", "data/images/train/c.jpg", "images/train/c.jpg"),
        ("", "images/train/a.jpg", "images/train/c.jpg", "images/train/c.jpg"),
        ("", "./images/train/a.jpg", "images/val/c.jpg", "images/val/c.jpg"),
        ("", "images/train/a.jpg", "images/c.jpg", "images/c.jpg"),
        ("", "/m/images/train/a.jpg", "/m/images/c.jpg", "images/c.jpg"),
        ("images", "train/a.jpg", "./train/c.jpg", "images/train/c.jpg"),
        ("lists", "../images/train/a.jpg", "../images/train/c.jpg", "images/train/c.jpg"),
    ],
)
def test_a_missing_photo_is_no_other_of_its_name(
    tmp_path: Path, folder: str, found: str, missing: str, meant: str, turn: int
) -> None:
    for name in (THERE, OTHER):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    place = tmp_path / folder / "list.txt"
    place.parent.mkdir(exist_ok=True)
    place.write_text("\n".join([found, missing][::turn]) + "\n")
    entries = YoloLists(tmp_path, Faults()).entries({"train": [place.relative_to(tmp_path).as_posix()]})
    assert {entry.file for entry in entries} == {THERE, meant}


def test_lists_of_two_machines_are_found_each_by_its_own_folders(tmp_path: Path) -> None:
    for name in (THERE, OTHER):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("/m/set/images/train/a.jpg\n/n/c.jpg\n")
    entries = YoloLists(tmp_path, Faults()).entries({"train": ["list.txt"]})
    assert {entry.file for entry in entries} == {THERE, OTHER}
