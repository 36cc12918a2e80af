"""`frcnn check-data` for a family without anchors, and one with checks of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import cv2
import pytest

from pipeline.artifacts.image_views import Entry
from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked
from pipeline.preflight.command import check_data
from pipeline.preflight.family_checks import FamilyChecks, family_checks
from pipeline.preflight.layouts import choose_reader
from pipeline.runtime.errors import InputError
from pipeline.training.order import EpochOrder
from tests.families.family_project import family_params
from tests.families.points_project import visible, write_project
from tests.faults.trees import plant

OVERLAY = {
    "dataset": {"reader": "voc", "voc": {"train": ["train"], "test": ["test"]}},
    "train_points": {"images_per_iteration": 2},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory is a project of family points with a sound data set of two images at data/raw."""
    root = tmp_path / "project"
    with visible():
        write_project(root, OVERLAY)
        (root / "data/raw").rmdir()
        plant("voc", root / "data/raw")
        monkeypatch.chdir(root)
        yield root


def report(settings: Sequence[str] = ()) -> tuple[bool, str]:
    lines: list[str] = []
    passed = check_data(None, None, Path("data-check.png"), lines.append, settings)
    return passed, "\n".join(lines)


def test_sizes_are_told_in_cells_of_the_levels_in_place_of_anchors(folder: Path) -> None:
    passed, text = report()
    assert passed and text.endswith("nothing here would stop a run")
    # The one box of train is 20 x 20 px of 100 x 80, resized to a shorter side of 256.
    for stride, cells in ((8, "8.0"), (16, "4.0"), (32, "2.0")):
        (line,) = [line for line in text.splitlines() if line.startswith(f"  stride {stride} px")]
        assert line.split()[3:] == [cells] * 7
    assert "0.0% of the boxes have a side shorter than a cell of the finest level" in text
    assert "there are no anchors, so none are judged or proposed" in text
    assert "RPN" not in text and "frcnn preset" not in text
    assert cv2.imread("data-check.png").shape[1] > 800


def test_boxes_smaller_than_a_cell_are_counted(folder: Path) -> None:
    _, text = report(["resize.shorter_side=16", "resize.longer_side=16"])
    assert "100.0% of the boxes have a side shorter than a cell of the finest level" in text


def test_what_training_would_refuse_is_told_as_training_tells_it(folder: Path) -> None:
    passed, text = report(["train_points.images_per_iteration=4", "evaluate.split=val"])
    assert passed and text.endswith("dataset and resize would run, a later stage would stop: see above")
    both = [Entry("a"), Entry("a", 1)]
    with pytest.raises(InputError) as refusal:
        EpochOrder(both, [True, True], 4, 0, "train_points")
    assert f"  {refusal.value}" in text.splitlines()
    assert "  evaluate.split is val, and the data set has no val images; change either" in text


def test_a_data_set_without_a_box_of_train_is_told_and_drawn(folder: Path) -> None:
    for photo in (folder / "data/raw/JPEGImages").iterdir():
        photo.unlink()
    passed, text = report()
    assert not passed and "train has no box to learn from" in text
    assert Path("data-check.png").is_file()


def test_a_family_may_ask_more_and_compare_sizes_in_its_own_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own:
        def remarks(self) -> Iterator[str]:
            yield "  own remark"

        def lines(self) -> Iterator[str]:
            yield "  own proposal"

        def panels(self) -> list[object]:
            from pipeline.preflight.level_check import LevelCheck

            return LevelCheck(*made[0]).panels()  # type: ignore[arg-type,return-value]

    made: list[tuple[object, ...]] = []

    def make(*arguments: object) -> Own:
        made.append(arguments)
        return Own()

    def refuse(checked: Checked, params: Params) -> None:
        raise InputError("no image is large enough")

    part = ModuleType("pipeline.families.points.check_data")
    part.CHECKS = FamilyChecks(  # type: ignore[attr-defined]
        prepares=("points_targets",), trainable=refuse, sizes=make
    )
    part.__spec__ = sys.modules["pipeline.families.points.family"].__spec__
    monkeypatch.setitem(sys.modules, part.__name__, part)
    passed, text = report()
    assert not passed and "  own remark" in text and "  own proposal" in text and "cells" not in text
    assert "  no image is large enough" in text
    assert text.endswith("dataset, resize and points_targets would run, a later stage would stop: see above")


def test_presets_of_another_family_are_not_offered(folder: Path) -> None:
    assert "frcnn preset default dataset.reader=voc" in choose_reader(Path("data/raw"))
    own = choose_reader(Path("data/raw"), "points")
    assert "frcnn preset PRESET dataset.reader=voc" in own and "default" not in own and "bccd" not in own


@pytest.mark.parametrize("family", ["retinanet", "fcos", "ssd"])
def test_the_targets_of_dense_families_are_among_what_runs_before_training(family: str) -> None:
    assert family_checks(family_params(family)).prepares == (f"{family}_targets",)
