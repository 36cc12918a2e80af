"""Charts of boxes against anchors. Importing this costs Altair's import."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from pipeline.geometry.anchors import Floats
from pipeline.params.anchors import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.histograms import bars, room_above, some_boxes
from pipeline.preflight.size_check import Panel
from pipeline.preflight.verdict import Verdict
from pipeline.views.charts import ANCHORS, AnyChart, box_cloud, kind_colour, kinds_of


def anchor_panels(shapes: Floats, anchors: AnchorParams, verdict: Verdict, placement: Placement) -> list[Panel]:
    """Widths and heights, ratios, and the distribution of the best IoU.

    Args:
        shapes: (N, 2) widths and heights of the boxes of train.
        anchors: the configured ones.
        verdict: on these boxes. placement: where anchors lie.
    """
    return [
        Panel("Sizes", _sizes(shapes, verdict, placement)),
        Panel("Ratios", _ratios(shapes, anchors, verdict)),
        Panel("Best anchor of each box", _best_iou(verdict)),
    ]


def _sizes(shapes: Floats, verdict: Verdict, placement: Placement) -> AnyChart:
    fits = {"anchors": verdict.configured.shapes}
    if verdict.kind == "propose":
        fits["proposed"] = verdict.proposed.shapes
    marks = [
        pd.DataFrame({"width": own[:, 0], "height": own[:, 1], "anchor": "", "kind": k})
        for k, first in fits.items()
        for own in placement.of_levels(first)
    ]
    return box_cloud(some_boxes(shapes), pd.concat(marks))


def _ratios(shapes: Floats, anchors: AnchorParams, verdict: Verdict) -> AnyChart:
    ratios = shapes[:, 1] / shapes[:, 0]
    low, high = (float(bound) for bound in np.quantile(ratios, (0.002, 0.998)))
    low, high = min(low, *anchors.ratios) / 1.1, max(high, *anchors.ratios) * 1.1
    edges = np.geomspace(low, high, 41)
    counts, _ = np.histogram(np.clip(ratios, edges[0], edges[-1]), edges)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    kinds = [("anchors", anchors.ratios), ("proposed", verdict.grid.ratios)][: 1 + (verdict.kind == "propose")]
    return alt.layer(bars(edges, counts, "height over width", scale, room_above(counts)), _rules(kinds))


def _rules(kinds: Sequence[tuple[str, Sequence[float]]]) -> alt.Chart:
    """Vertical lines at the values of each kind."""
    table = pd.DataFrame([{"at": float(at), "kind": kind} for kind, places in kinds for at in places])
    names = kinds_of(table)
    scale = alt.Scale(domain=names, range=[[1, 0], [4, 3]][: len(names)])
    dashes = alt.StrokeDash("kind:N", scale=scale, legend=None)
    return alt.Chart(table).mark_rule(strokeWidth=1.6).encode(alt.X("at:Q"), kind_colour(names), dashes)


def _best_iou(verdict: Verdict) -> AnyChart:
    edges = np.linspace(0, 1, 41)
    configured, _ = np.histogram(verdict.configured.best_iou, edges)
    proposed, _ = np.histogram(verdict.proposed.best_iou, edges)
    y = room_above(configured, proposed)
    layers = [bars(edges, configured, "IoU", alt.Scale(domain=[0, 1]), y)]
    means = [f"anchors (bars): mean {verdict.configured.mean:.2f}"]
    if verdict.kind == "propose":
        steps = pd.DataFrame({"from": edges, "boxes": [*proposed, proposed[-1]]})
        layers.append(
            alt.Chart(steps)
            .mark_line(interpolate="step-after", strokeWidth=1.6, color=ANCHORS["proposed"])
            .encode(alt.X("from:Q"), y)
        )
        means.append(f"proposed (line): mean {verdict.proposed.mean:.2f}")
    marks = pd.DataFrame(
        [{"at": iou, "note": f"{verdict.configured.below(iou):.1%}\nbelow {f'{iou:g}'[1:]}"} for iou in (0.5, 0.7)]
    )
    rules = alt.Chart(marks).mark_rule(strokeDash=[2, 2], color="#404040").encode(alt.X("at:Q"))
    texts = (
        alt.Chart(marks)
        .mark_text(align="right", dx=-4, baseline="top", lineBreak="\n")
        .encode(alt.X("at:Q"), y=alt.value(4))
    )
    summary = alt.Chart(pd.DataFrame({"note": [means]})).mark_text(align="left", baseline="top")
    corner = summary.encode(x=alt.value(6), y=alt.value(4), text="note:N")
    return alt.layer(*layers, rules, texts.encode(text="note:N"), corner)
