"""The parts of an evaluate stage, timed on a few images."""

from __future__ import annotations

from benchmarks.evaluate_time import parts


def test_each_part_is_timed() -> None:
    assert [what for what, _ in parts(images=4, per_image=5, classes=3)] == [
        "write a table of all detections",
        "read it",
        "VOC AP",
        "kinds of error",
        "confusion",
        "COCO AP and AR",
    ]
