"""The inspect panel of pooled RoIs names the level that each RoI is pooled from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pipeline.families.faster_rcnn.panels import roi_targets
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.views.panels.request import PanelRequest

PYRAMID = MapLayout(tuple(Level(stride, 8, pooled=stride < 64) for stride in (4, 8, 16, 32, 64)))
BOXES = np.array([[0, 0, 40, 40], [5, 5, 250, 205], [3, 7, 153, 187]], np.float32)  # 40, 221 and 164 px


def panel_of(layout: MapLayout, monkeypatch: pytest.MonkeyPatch) -> str:
    """The caption of the panel."""
    sizes = layout.sizes(256, 256)
    maps = [np.full((level.channels, *cells), 1, np.float16) for level, cells in zip(layout.levels, sizes, strict=True)]
    monkeypatch.setattr(roi_targets, "stored_maps", lambda folder, entry: maps)
    head = SimpleNamespace(pool="roi_align", output_size=7, pooling=Pooling("roi_align", 7))
    reader = SimpleNamespace(options={"features": "data/features"})
    request: dict[str, Any] = {
        "graph": SimpleNamespace(reader_of=lambda *names: reader),
        "command": SimpleNamespace(out="data/proposal_targets_step4"),
        "root": Path(),
        "entry": "a",
        "params": SimpleNamespace(roi_head=head),
        "layout": layout,
        "side": 200,
    }
    pixels = np.zeros((256, 256, 3), np.uint8)
    stub = cast(PanelRequest, SimpleNamespace(**request))
    (tile,) = roi_targets._pooled_panels(stub, pixels, BOXES, np.arange(3))
    return tile.caption


def test_the_caption_names_the_level_that_each_roi_is_pooled_from(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "RoIAlign of 3 fg RoIs from level 0 (stride 4), level 1 (stride 8), level 1 (stride 8), 7 x 7 of 8 channels"
    assert panel_of(PYRAMID, monkeypatch).startswith(said)


def test_of_a_single_map_no_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    caption = panel_of(MapLayout((Level(16, 8),)), monkeypatch)
    assert caption.startswith("RoIAlign of 3 fg RoIs, 7 x 7 of 8 channels")
