"""Images without an anchor that may be used are told of, with the size that they have when resized."""

from __future__ import annotations

import numpy as np

from pipeline.datasets.base import Split
from pipeline.geometry.backbones import VGG16
from pipeline.params.detector import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.anchorless import without_anchors
from pipeline.preflight.collecting import Checked, DatasetBoxes

ANCHORS = AnchorParams(base_size=16.0, ratios=[1.0], scales=[2.0])


def lines(sizes: dict[tuple[Split, int, int], int], border: float | None) -> list[str]:
    nothing = DatasetBoxes(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, bool))  # type: ignore[arg-type]
    checked = Checked((), {"train": 14}, {}, nothing, [], {}, {}, [], [], True, sizes=sizes)
    return list(without_anchors(checked, ANCHORS, Placement(VGG16.layout(False), border)))


def test_images_thinner_than_a_stride_and_without_anchors_are_counted() -> None:
    sizes: dict[tuple[Split, int, int], int] = {
        ("train", 12, 1000): 2,
        ("test", 900, 3): 1,
        ("train", 31, 1000): 4,
        ("train", 48, 1000): 8,
    }
    thin, none = lines(sizes, 0.0)
    assert thin.startswith("  3 images are thinner than one stride (16 px) when resized, such as 3 x 900 px: ")
    assert none.startswith("  no anchor may be used in 6 of 14 train images, such as one of 1000 x 12 px: ")
    assert len(lines(sizes, None)) == 1
    assert lines({("train", 48, 1000): 8, ("test", 31, 31): 1}, 0.0) == []
    assert lines({}, 0.0) == []
