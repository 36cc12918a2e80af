"""Parts of the charts of `frcnn check-data`. Importing this costs Altair's import."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from pipeline.geometry.anchors import Floats
from pipeline.views.colours import COLOURS

_MOST_POINTS = 4_000


def some_boxes(shapes: Floats) -> pd.DataFrame:
    """Some of (N, 2) widths and heights, for `box_cloud`."""
    # Evenly spread over the data set, so that no chance is needed.
    few = shapes[:: -(-len(shapes) // _MOST_POINTS)]
    return pd.DataFrame({"width": few[:, 0], "height": few[:, 1], "class": ""})


def room_above(*counts: np.ndarray) -> alt.Y:
    """An axis of counts with room for words."""
    top = 1.2 * max(float(own.max()) for own in counts)
    return alt.Y("boxes:Q", title="boxes", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(tickMinStep=1))


def bars(edges: np.ndarray, counts: np.ndarray, title: str, scale: alt.Scale, y: alt.Y) -> alt.Chart:
    """A histogram of boxes from its counts."""
    table = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "boxes": counts})
    axis = alt.Axis(labelOverlap="greedy")
    x = alt.X("from:Q", title=title, scale=scale, axis=axis)
    return alt.Chart(table).mark_bar(color=COLOURS[5]).encode(x, alt.X2("to:Q"), y, y2=alt.datum(0))
