"""A data set is read to its end, whatever the policy says."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data_layouts.recognising import layouts_of
from pipeline.datasets.base import SPLITS
from pipeline.params.dataset import DatasetParams, FindingPolicy
from pipeline.params.resize import ResizeParams
from pipeline.preflight.collecting import check_dataset, never_stopping
from pipeline.preflight.layouts import choose_reader
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.defaults import default_params
from tests.faults.trees import KINDS, plant

PARAMS = default_params()
RESIZE = ResizeParams(rule="fixed", shorter_side=1, longer_side=1, fixed_width=200, fixed_height=40)
ALL = ("train", "test", "train", "test")
TABLE = "file,split,class,x1,y1,x2,y2,difficult,ignore\n"


def table(root: Path, *rows: str, **changes: str) -> DatasetParams:
    for name in "ab":
        cv2.imwrite(str(root / f"{name}.png"), np.full((80, 100, 3), ord(name), np.uint8))
    (root / "boxes.csv").write_text(TABLE + "".join(f"{row}\n" for row in rows))
    return PARAMS.dataset.model_copy(update={"reader": "table", "findings": policy(**changes)})


def test_every_fault_is_found_where_each_would_stop_a_run(tmp_path: Path) -> None:
    params = table(
        tmp_path,
        "a.png,train,dog,10,20,10,40,0,0",
        "a.png,train,dog,50,20,10,40,0,0",
        "a.png,train,dog,x,20,10,40,0,0",
        "a.png,train,dog,90,20,110,40,0,0",
        "b.png,test,dog,10,20,30,40,0,0",
        "c.png,test,dog,10,20,30,40,0,0",
        zero_area="error",
        inverted="error",
        outside_image="error",
    )
    checked = check_dataset(tmp_path, params, RESIZE)
    kinds = {"zero_area", "inverted", "non_numeric", "outside_image", "annotation_without_image"}
    assert checked.stopping == dict.fromkeys(kinds, 1) and checked.stops == 5
    assert {finding.kind for finding in checked.findings} == kinds
    assert len(checked.gt.of("train")) == 2  # swapped and clipped, so that they still count


def test_image_files_that_are_none_or_cut_off_are_counted_too(tmp_path: Path) -> None:
    params = table(
        tmp_path, *(f"{name}.png,{split},dog,1,2,30,40,0,0" for name, split in zip("abcd", ALL, strict=True))
    )
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "c.png").write_bytes(whole[:-20])
    (tmp_path / "d.png").write_bytes(b"no image")
    checked = check_dataset(tmp_path, params, RESIZE)
    assert checked.stopping == {"truncated": 1, "undecodable": 1}
    assert checked.images == {"train": 1, "val": 0, "test": 1}


def test_what_the_policy_mends_stops_nothing(tmp_path: Path) -> None:
    rows = ("a.png,train,dog,5,5,5,9,0,0", "a.png,train,dog,5,5,9,9,0,0", "b.png,test,dog,5,5,5,9,0,0")
    checked = check_dataset(tmp_path, table(tmp_path, *rows), RESIZE)
    assert [finding.kind for finding in checked.findings] == ["zero_area", "zero_area"]
    assert checked.stops == 0 and checked.without_objects == {"train": 0, "val": 0, "test": 1}


def test_a_train_without_a_box_would_stop_a_run_and_a_test_without_one_would_not(tmp_path: Path) -> None:
    rows = ("a.png,train,dog,5,5,5,9,0,0", "a.png,train,dog,5,5,9,9,1,0", "b.png,test,dog,5,5,9,9,0,1")
    checked = check_dataset(tmp_path, table(tmp_path, *rows), RESIZE)
    assert checked.stops == 1 and set(checked.without_boxes) == {"train", "test"}
    assert checked.without_boxes["train"].startswith("train has no box left: 1 zero_area dropped (x1, y1, x2, y2 = 5,")
    assert "test has no box left: 1 ignore; take the mark" in checked.without_boxes["test"]


def test_a_split_without_images_would_stop_a_run_but_val_may_be_empty(tmp_path: Path) -> None:
    checked = check_dataset(
        tmp_path, table(tmp_path, "a.png,train,dog,5,5,9,9,0,0", "c.png,test,dog,1,2,3,4,0,0"), RESIZE
    )
    assert len(checked.lacking) == 1 and checked.lacking[0].startswith(
        "the data set has no test images left: 1 annotation_without_image dropped (no such image); correct them"
    )
    both = table(tmp_path, *(f"a.png,{split},dog,5,5,9,9,0,0" for split in ("train", "test")))
    assert check_dataset(tmp_path, both, RESIZE).lacking == [
        "the data set has no train images; change dataset.table.train"
    ]
    assert checked.stops == 2  # the missing image is one too


def test_boxes_are_in_resized_pixels_and_only_trainable_ones_count(tmp_path: Path) -> None:
    params = table(
        tmp_path,
        "a.png,train,dog,10,20,30,60,0,0",
        "a.png,train,cat,10,20,31,60,1,0",
        "a.png,train,cat,10,20,32,60,0,1",
        "b.png,test,cat,0,0,100,80,0,0",
    )
    checked = check_dataset(tmp_path, params, RESIZE)
    train = checked.gt.of("train")
    assert train.boxes.tolist() == [[20, 10, 60, 30]] and train.sizes.tolist() == [[40, 200]]
    assert train.shapes.tolist() == [[40, 20]] and train.boxes.dtype == np.float32
    assert checked.classes == ("cat", "dog")
    assert [[checked.count(label, split) for split in SPLITS] for label in (1, 2)] == [[0, 0, 1], [1, 0, 0]]
    assert checked.images == {"train": 1, "val": 0, "test": 1} and len(checked.gt) == 4


def test_no_policy_is_left_that_stops_and_the_others_stay() -> None:
    everything = {kind: "error" for kind in FindingPolicy.model_fields}
    gentle = never_stopping(policy(**everything)).model_dump()
    assert "error" not in gentle.values()
    FindingPolicy.model_validate(gentle, strict=True)
    own = policy(inverted="drop", missing_difficult="allow")
    assert never_stopping(own).inverted == "drop" and never_stopping(own).missing_difficult == "allow"


def test_what_no_policy_covers_ends_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'x1'"):
        params = table(tmp_path)
        (tmp_path / "boxes.csv").write_text("file,split,class,a,b,c,d\na.png,train,dog,1,2,3,4\n")
        check_dataset(tmp_path, params, RESIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_is_recognised_in_the_folder_and_one_above(tmp_path: Path, kind: str) -> None:
    root = plant(kind, tmp_path / "above" / "data")
    if kind == "coco":
        (root / "train.json").rename(root / "instances_train.json")
    assert [layout.reader for layout in layouts_of(root, PARAMS.dataset)] == [kind]
    assert f"dataset.reader={kind} dataset.root={root}" in choose_reader(root)
    above = choose_reader(root.parent)
    if kind == "voc":  # whose trees are read from the folder above, too
        assert f"{root.parent} looks made for reader voc (" in above and f"dataset.root={root.parent}, then" in above
        assert [layout.is_below for layout in layouts_of(root.parent, PARAMS.dataset)] == [True]
    else:
        assert f"{root} looks made for reader {kind}" in above and f"dataset.root={root}" in above


def test_a_folder_of_nothing_known_gets_the_list_of_readers(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    assert layouts_of(tmp_path, PARAMS.dataset) == []
    assert "READER one of voc, coco, kitti, yolo, table" in choose_reader(tmp_path)


def test_classes_at_fault_are_not_blamed_on_the_objects(tmp_path: Path) -> None:
    params = table(tmp_path, "a.png,train,background,1,2,30,40,0,0", "b.png,test,background,1,2,30,40,0,0")
    checked = check_dataset(tmp_path, params, RESIZE)
    assert len(checked.faults) == 1 and "a class is called 'background'" in checked.faults[0]
    assert not checked.without_boxes and not checked.findings


def test_each_kind_that_dvc_does_not_hash_is_a_fault_of_its_own_beside_those_of_files(tmp_path: Path) -> None:
    root = plant("voc", tmp_path / "raw")
    os.mkfifo(root / "pipe")
    (root / "old.jpg").symlink_to("nowhere")
    (root / "older.jpg").symlink_to("nowhere")
    (root / "Annotations/b.xml").write_text("<annotation>")
    voc = PARAMS.dataset.voc.model_copy(update={"train": ["train"], "test": ["test"]})
    checked = check_dataset(root, PARAMS.dataset.model_copy(update={"reader": "voc", "voc": voc}), RESIZE)
    links, pipe, xml = checked.faults
    assert "old.jpg (-> nowhere), older.jpg" in links and "waits for ever" in pipe and "malformed XML" in xml
    assert checked.stops == 3 and checked.images["train"] == 1
