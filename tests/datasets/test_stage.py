"""The dataset stage: its tables and its counts tell the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.tables import read_columns
from tests.in_process import run_stage

ROWS = [
    "a.png,train,dog,10,20,30,40",
    "a.png,train,cat,10,20,10,40",  # no width
    "a.png,train,cat,30,20,10,40",  # inverted
    "a.png,train,cat,30,20,10,50",  # inverted
    "b.png,val,dog,10,20,30,40",
    "b.png,val,dog,10,20,30,40",  # twice
    "c.png,test,dog,90,20,130,40",  # sticks out
    "c.png,test,dog,150,20,170,40",  # lies outside
    "d.png,test,cat,1,2,3,4",
]
COUNTS = {
    "images": {"train": 1, "val": 1, "test": 2},
    "boxes": {"train": 1, "val": 2, "test": 2},
    "classes": 2,
    "findings": {
        "duplicate_box": {"kept": 1},
        "inverted": {"dropped": 2},
        "outside_image": {"clipped": 1, "dropped": 1},
        "zero_area": {"dropped": 1},
    },
}


def run_on(folder: Path, rows: list[str], images: str) -> Path:
    (folder / "raw").mkdir(parents=True)
    for name in images:
        cv2.imwrite(str(folder / f"raw/{name}.png"), np.full((80, 100, 3), ord(name), np.uint8))
    (folder / "raw/boxes.csv").write_text("\n".join(["file,split,class,x1,y1,x2,y2", *rows]) + "\n")
    params = {"dataset": {"reader": "table", "table": {"val": ["val"]}}}
    return run_stage("dataset", folder, params=params, raw=folder / "raw")


def test_metrics_count_images_boxes_and_every_finding(tmp_path: Path) -> None:
    out = run_on(tmp_path, ROWS, "abcd")
    assert json.loads((out / "metrics.json").read_text()) == COUNTS
    findings = read_columns(out / "findings.parquet", FINDINGS)
    in_table = Counter(zip(findings["kind"], findings["action"], strict=True))
    told = {(kind, done): n for kind, of_kind in COUNTS["findings"].items() for done, n in of_kind.items()}
    assert in_table == told


def test_the_order_of_the_counts_is_not_that_of_the_input(tmp_path: Path) -> None:
    renamed = str.maketrans({"a": "d", "d": "a"})  # files only: the first field
    other = [f"{row.split(',', 1)[0].translate(renamed)},{row.split(',', 1)[1]}" for row in ROWS]
    first, second = run_on(tmp_path / "1", ROWS, "abcd"), run_on(tmp_path / "2", other, "abcd")
    assert (first / "findings.parquet").read_bytes() != (second / "findings.parquet").read_bytes()
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()


def test_a_sound_data_set_has_no_counts_of_findings(tmp_path: Path) -> None:
    rows = ["a.png,train,dog,10,20,30,40", "b.png,val,dog,10,20,30,40", "c.png,test,dog,10,20,30,40"]
    assert json.loads((run_on(tmp_path, rows, "abc") / "metrics.json").read_text())["findings"] == {}
