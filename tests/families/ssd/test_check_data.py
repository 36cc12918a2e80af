"""What check-data says of default boxes beside gt boxes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.families.ssd import check_data
from pipeline.families.ssd.check_data import DefaultBoxCheck
from pipeline.preflight.collecting import Checked, DatasetBoxes
from pipeline.preflight.family_checks import family_checks
from tests.ssd_models import ssd_params


def checked(boxes: list[list[float]]) -> Checked:
    own, count = np.array(boxes, np.float32).reshape(-1, 4), len(boxes)
    gt = DatasetBoxes(own, np.full((count, 2), 300), np.ones(count), np.zeros(count), np.ones(count, bool))  # type: ignore[arg-type]
    return Checked((), {"train": count}, {}, gt, [], {}, {}, [], [], True, sizes={("train", 300, 300): count})


def lines(boxes: list[list[float]]) -> list[str]:
    params = ssd_params()
    maker = family_checks(params).sizes
    assert maker is DefaultBoxCheck
    check = maker(checked(boxes), params, lambda _: None)
    assert list(check.remarks()) == []
    return list(check.lines())


def test_each_box_is_counted_at_the_level_whose_default_box_comes_nearest() -> None:
    square, small = [18.0, 18, 282, 282], [100.0, 100, 104, 104]  # the last default box of all; far too small
    own = lines([square, square, small])
    assert own[1] == "default boxes: IoU of a box of train with the best"
    assert own[3].split() == ["all", "levels", "3", "100.0%", "0.673", "1"]
    assert own[4].startswith("  stride 8 px, 4 a cell of 30 to 42 px") and own[4].split()[-4:-2] == ["1", "33.3%"]
    assert own[9].startswith("  stride 300 px, 4 a cell of 264 to 288 px")
    assert own[9].split()[-4:] == ["2", "66.7%", "1.000", "0"] and own[6].split()[-2:] == ["-", "0"]


def test_of_many_boxes_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_data, "MOST_BOXES", 5)
    own = lines([[10.0, 10, 40, 40]] * 12)
    assert own[1].endswith("with the best (5 of the 12 drawn)") and own[3].split()[2] == "5"


def test_nothing_is_said_where_there_is_no_box() -> None:
    assert lines([]) == []
