"""What is concluded from three sizes of a data set."""

from __future__ import annotations

from benchmarks.many_images import COCO, Run, images_of, per_image, rows, table

SIZES = (100, 400, 1600)


def runs_of(name: str, seconds: list[float], peaks: list[int]) -> list[dict[str, Run]]:
    written = [images_of(name, images) * 1000 for images in SIZES]
    return [{name: Run(s, p << 20, w)} for s, p, w in zip(seconds, peaks, written, strict=True)]


def test_coco_lies_on_the_line_through_the_two_larger_sizes() -> None:
    runs = runs_of("features", [3 + 0.06 * images for images in SIZES], [800, 810, 820])
    assert abs(per_image("features", SIZES, runs) - 0.06) < 1e-9
    assert table(SIZES, runs).splitlines()[-1].endswith(f"| 60.0 | {(3 + 0.06 * COCO) / 60:.0f} min, 118 MB |")
    assert [row.is_met for row in rows(SIZES, runs)] == [True, True]


def test_time_above_proportion_and_memory_that_grows_with_the_images_miss_the_bar() -> None:
    runs = runs_of("detect_step2", [images**2 / 100 for images in SIZES], [800, 820, 900])
    assert [row.is_met for row in rows(SIZES, runs)] == [False, False]


def test_a_quarter_as_many_images_are_for_tests() -> None:
    assert [images_of(name, 100) for name in ("resize", "features", "ssd_targets", "detect_step2")] == [
        125,
        100,
        100,
        25,
    ]
