"""Lines of YOLO's label files: boxes, polygons, keypoints, scores, and indices of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.runtime.errors import InputError
from tests.datasets.yolo_set import read, yolo_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return yolo_set(tmp_path)


POLYGONS = {
    "a segmentation": ("0 0.1 0.2 0.5 0.1 0.3 0.6", [10, 8, 50, 48]),
    "an oriented box": ("0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", [10, 8, 90, 72]),
    "of many corners": ("0 " + "0.25 0.25 0.75 0.75 " * 50, [25, 20, 75, 60]),
    "beyond the image": ("0 -0.2 0.5 0.5 0.5 0.5 1.5", [0, 40, 50, 80]),
}


@pytest.mark.parametrize(("line", "box"), POLYGONS.values(), ids=POLYGONS.keys())
def test_a_polygon_is_the_box_around_it_and_a_finding(root: Path, line: str, box: list[float]) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n\n{line}\n")
    dataset = read(root)
    image = next(dataset.images)
    assert np.allclose(image.boxes, [[10, 20, 30, 40], box]) and image.labels.tolist() == [2, 1]
    told = next(finding for finding in dataset.findings if finding.kind == "no_box")
    assert (told.file, told.object, told.action) == (
        "raw/labels/train/b.txt",
        2,
        "the box around its polygon taken",
    )
    dropped = read(root, no_box="drop")
    assert len(next(dropped.images).boxes) == 1 and dropped.findings[-1].action in ("dropped", "clipped")
    with pytest.raises(
        InputError, match=r"b\.txt: object 2: .* corners of a polygon, and no box.*no_box to fix or drop"
    ):
        list(read(root, no_box="error").images)


@pytest.mark.parametrize("line", ["0 .1 .1 .5 .1 .9 .1", "0 .1 .1 nan .1 .9 .5", "0 .1 .1 inf .1 .9 .5"])
def test_a_polygon_without_a_box_around_it_is_dropped_as_a_box_is(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n{line}\n")
    dataset = read(root)
    assert len(next(dataset.images).boxes) == 1
    assert next(finding.kind for finding in dataset.findings) in ("zero_area", "non_finite")


@pytest.mark.parametrize("line", ["0 .5 .5 .2 .2 .9 1", "1 .5 .5 1 1 0.31 27", "0 .1 .1 .2 .2 1 0"])
def test_a_box_with_a_score_and_a_track_is_no_polygon(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"1 0.2 0.375 0.2 0.25\n{line}\n")
    with pytest.raises(
        InputError, match=r"b\.txt: line 2 has 7 fields, .* a box, a score and a track.*; delete"
    ) as caught:
        list(read(root).images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["0 .1 .2 .5 .1 .3 1", "0 .5 .5 .2 .2 .9 .7", "0 .9 .5 .4 .2 .3 0", "0 .5 .5 0 .2 .3 1"]
)
def test_a_triangle_at_the_border_is_a_polygon(root: Path, line: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{line}\n")
    x, y = np.array(line.split()[1:], float).reshape(-1, 2).T
    expected = [100 * x.min(), 80 * y.min(), 100 * x.max(), 80 * y.max()]
    assert np.allclose(next(read(root).images).boxes, [expected])


def test_keypoints_that_the_names_declare_follow_the_box(root: Path) -> None:
    (root / "data.yaml").write_text("names: [cat, dog]\nkpt_shape: [3, 2] # x, y\n")
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 .1 .1 .2 .2 .3 .3\n0 .5 .5 1 1\n")
    dataset = read(root)
    image = next(dataset.images)
    assert np.allclose(image.boxes, [[10, 20, 30, 40], [0, 0, 100, 80]]) and not dataset.findings
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 .1 .1\n")
    with pytest.raises(
        InputError, match=r"b\.txt: line 1 has 7 fields, a box has 5 .* with keypoints 11, as kpt_shape"
    ):
        list(read(root).images)


def test_scores_of_detections_are_told_once_a_file(root: Path) -> None:
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25 0.93\n0 .5 .5 1 1 1\n")
    dataset = read(root)
    assert np.allclose(next(dataset.images).boxes, [[10, 20, 30, 40], [0, 0, 100, 80]])
    (told,) = [finding for finding in dataset.findings if finding.kind == "scores"]
    assert (told.detail, told.action) == ("2 of 2 lines have a sixth number, as detections have a score", "kept")


@pytest.mark.parametrize("index", ["0", "0.0", "+0", "0e0", "00", " 0"])
def test_a_class_index_may_be_any_whole_number(root: Path, index: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{index} 0.2 0.375 0.2 0.25\n1e0 .5 .5 .5 .5\n")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [1, 2] and not dataset.findings


@pytest.mark.parametrize("index", ["-1", "1.5", "2", "nan", "inf", "dog", "0_1", "1e400", "\u00b2"])
def test_an_index_of_no_class_is_a_finding(root: Path, index: str) -> None:
    (root / "labels/train/b.txt").write_text(f"{index} 0.2 0.375 0.2 0.25\n0 .5 .5 .5 .5\n", encoding="utf-8")
    dataset = read(root)
    assert next(dataset.images).labels.tolist() == [1]
    assert [(f.object, f.kind, f.action) for f in dataset.findings] == [(0, "unknown_class", "dropped")]
    assert f"index {index}" in dataset.findings[0].detail
