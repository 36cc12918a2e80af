"""Charts of boxes against the cells of levels. Importing this costs Altair's import."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from pipeline.geometry.anchors import Floats
from pipeline.preflight.histograms import bars, room_above, some_boxes
from pipeline.preflight.size_check import Panel
from pipeline.views.charts import AnyChart, box_cloud
from pipeline.views.colours import COLOURS

_BINS = 40


def level_panels(shapes: Floats, strides: Sequence[int]) -> list[Panel]:
    """Widths and heights, ratios, and sides.

    Args:
        shapes: (N, 2) widths and heights of the boxes of train, px, N at least 1.
        strides: of each level, px.
    """
    names = [f"a cell of stride {stride}" for stride in strides]
    cells = pd.DataFrame({"width": strides, "height": strides, "anchor": names})
    sides = np.sqrt(shapes.prod(axis=1))
    return [
        Panel("Sizes (dots), a cell of each level (squares)", box_cloud(some_boxes(shapes), cells)),
        Panel("Ratios", _histogram(shapes[:, 1] / shapes[:, 0], "height over width", ())),
        Panel("Sizes, and strides (lines)", _histogram(sides, "square root of the area, px", strides)),
    ]


def _histogram(values: Floats, title: str, marks: Sequence[float]) -> AnyChart:
    """On a logarithmic axis, the most extreme four in a thousand at its ends, with vertical lines."""
    low, high = (float(bound) for bound in np.quantile(values, (0.002, 0.998)))
    low, high = min(low, *marks, high) / 1.1, max(high, *marks, low) * 1.1
    edges = np.geomspace(low, high, _BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    lines = alt.Chart(pd.DataFrame({"at": [float(mark) for mark in marks]}))
    rules = lines.mark_rule(strokeWidth=1.6, color=COLOURS[4]).encode(alt.X("at:Q"))
    return alt.layer(bars(edges, counts, title, scale, room_above(counts)), rules)
