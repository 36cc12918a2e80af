"""What is told of runs at three sizes."""

from __future__ import annotations

from benchmarks.scaling import SIZES, Run, graph, images_of, needed_for, per_image, rows, table
from tests.conftest import ROOT


def runs_of(name: str, seconds: list[float], peaks: list[int]) -> list[dict[str, Run]]:
    written = [images_of(name, images) * 1000 for images in SIZES]
    return [{name: Run(s, p << 20, w, 2)} for s, p, w in zip(seconds, peaks, written, strict=True)]


def test_start_up_drops_out_of_what_an_image_costs() -> None:
    runs = runs_of("features", [2 + 0.1 * images for images in SIZES], [800, 810, 820])
    assert abs(per_image("features", runs, "seconds", 0, 1) - 0.1) < 1e-9
    assert "| `features` | 100.0 | 100.0 | 1,000 | 2 | 800 | 820 |" in table(runs)
    assert [row.is_met for row in rows(runs)] == [True, True]


def test_time_that_grows_faster_than_the_images_and_memory_that_grows_with_them_miss_the_bar() -> None:
    runs = runs_of("detect_joint", [images**2 / 100 for images in SIZES], [800, 820, 900])
    assert [row.is_met for row in rows(runs)] == [False, False]


def test_of_the_images_a_stage_sees_its_own() -> None:
    assert (images_of("resize", 100), images_of("features", 100), images_of("detect_joint", 100)) == (150, 100, 50)


def test_what_a_stage_needs_comes_before_it_in_the_graphs_order() -> None:
    assert needed_for(graph(ROOT), ["proposal_targets_step2"]) == [
        "dataset",
        "backbone",
        "resize",
        "frozen_features",
        "anchor_targets",
        "train_rpn_step1",
        "proposals_step1",
        "proposal_targets_step2",
    ]
