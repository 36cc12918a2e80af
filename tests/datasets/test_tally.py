"""A split without a box to be found: the stage and the check say so, and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.datasets.tally import Tally
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.preflight.collecting import check_dataset
from pipeline.preflight.report import ending
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.defaults import default_content
from tests.faults.trees import coco, plant
from tests.in_process import run_stage

TABLE = "file,split,class,x1,y1,x2,y2,difficult,iscrowd,ignore\n"
TEST = "b.png,test,dog,10,20,30,40,0,0,0\n"
UNKNOWN = {"table": {"classes": ["dog"]}}
CASES = [
    (
        "a.png,train,cat,1,2,3,4,0,0,0\n",
        UNKNOWN,
        "1 unknown_class dropped (class 'cat' is not among the classes); name",
    ),
    (
        "a.png,train,cat,1,2,3,4,0,0,0\n",
        {**UNKNOWN, "findings": {"unknown_class": "ignore"}},
        "1 unknown_class ignored (class 'cat' is not among the classes); name the classes in dataset.table.classes",
    ),
    ("a.png,train,dog,1,2,3,4,1,0,0\n" * 2, {}, "2 difficult; clear the flag"),
    ("a.png,train,dog,1,2,3,4,0,1,0\n", {}, "1 iscrowd; clear the flag"),
    ("a.png,train,dog,1,2,3,4,0,0,1\n", {}, "1 ignore; take the mark"),
    ("a.png,train,,,,,,,,\n", {}, "its only image has no object; label some"),
    (
        "a.png,train,dog,1,2,1,4,0,0,0\na.png,train,dog,1,2,1,5,0,0,0\na.png,train,dog,nan,2,3,4,0,0,0\n"
        "a.png,train,dog,1,2,3,4,1,0,0\n",
        {},
        "2 zero_area dropped (x1, y1, x2, y2 = 1, 2, 1, 4), 1 non_finite dropped (x1, y1, x2, y2 = nan, 2, 3, 4), "
        "1 difficult; correct them, or see dataset.findings.zero_area",
    ),
]


def set_params(folder: Path, changes: dict[str, object]) -> Params:
    content = default_content()
    apply_overlay(content, {"dataset": {"reader": "table", **changes}})
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    return load_params(folder / "params.yaml")


@pytest.mark.parametrize(("rows", "changes", "why"), CASES)
def test_a_train_without_a_box_ends_the_stage_and_the_check(
    tmp_path: Path, rows: str, changes: dict[str, object], why: str
) -> None:
    plant("table", tmp_path / "raw")
    (tmp_path / "raw/boxes.csv").write_text(TABLE + rows + TEST)
    params = set_params(tmp_path, changes)
    with pytest.raises(InputError) as caught:
        run_stage("dataset", tmp_path, raw=tmp_path / "raw")
    assert f"train has no box left: {why}" in str(caught.value) and "\n" not in str(caught.value)
    checked = check_dataset(tmp_path / "raw", params.dataset, params.resize)
    assert checked.stops == 1 and f"train has no box left: {why}" in ending(checked, params.dataset)


@pytest.mark.parametrize(("rows", "changes", "why"), CASES[2:])
def test_a_test_without_a_box_is_said(
    tmp_path: Path, rows: str, changes: dict[str, object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant("table", tmp_path / "raw")
    text = TABLE + rows + TEST
    (tmp_path / "raw/boxes.csv").write_text(text.replace("train", "-").replace("test", "train").replace("-", "test"))
    set_params(tmp_path, changes)
    run_stage("dataset", tmp_path, raw=tmp_path / "raw")
    assert f"test has no AP: test has no box left: {why}" in capsys.readouterr().err
    assert json.loads((tmp_path / "data/dataset/metrics.json").read_text())["boxes"]["train"] == 1


def test_boxes_lost_with_their_images_count(tmp_path: Path) -> None:
    plant("coco", tmp_path / "raw")
    content = coco("a.png")
    content["images"].append({"id": 2, "file_name": "gone.png", "width": 100, "height": 80})
    for annotation in content["annotations"]:
        annotation["image_id"] = 2
    (tmp_path / "raw/train.json").write_text(json.dumps(content))
    files = {"train": ["train.json"], "test": ["test.json"], "images": "{name}"}
    set_params(tmp_path, {"reader": "coco", "coco": files, "findings": {"annotation_without_image": "drop"}})
    with pytest.raises(InputError, match=r"no box left: 2 annotation_without_image dropped \(no such image\); correct"):
        run_stage("dataset", tmp_path, raw=tmp_path / "raw")


def test_images_that_findings_took_away_are_told_where_none_is_left(tmp_path: Path) -> None:
    plant("table", tmp_path / "raw")
    (tmp_path / "raw/a.png").write_bytes(b"no image")
    (tmp_path / "raw/boxes.csv").write_text(TABLE + "a.png,train,,,,,,,,\n" + TEST + "b.png,train,dog,1,2,3,4,0,0,0\n")
    drop = {"undecodable": "drop", "same_image_in_train_and_test": "drop"}
    params = set_params(tmp_path, {"findings": drop})
    with pytest.raises(InputError) as caught:
        run_stage("dataset", tmp_path, raw=tmp_path / "raw")
    assert str(caught.value).startswith("the data set has no train images left: 1 undecodable dropped (")
    assert str(caught.value).endswith("; correct them, or see dataset.findings.undecodable")
    checked = check_dataset(tmp_path / "raw", params.dataset, params.resize)
    assert checked.lacking == [str(caught.value)]


def test_a_tally_tells_the_most_frequent_causes_and_nothing_where_there_is_a_box() -> None:
    tally, no = Tally(), np.zeros(1, np.bool_)
    for count, kind in enumerate(("a", "b", "c", "d", "e"), start=1):
        tally.lose(kind, "dropped", f"of {kind}", count)
    assert tally.why_empty("train") is None  # no image at all is another fault
    tally.add(np.zeros(0, np.int16), no[:0], no[:0])
    told = "5 e dropped (of e), 4 d dropped (of d), 3 c dropped (of c), 2 b dropped (of b), 1 for other causes"
    assert tally.why_empty("train") == f"train has no box left: {told}"
    tally.add(np.array([3], np.int16), no, no)
    assert tally.why_empty("train") is None and tally.boxes == 1
