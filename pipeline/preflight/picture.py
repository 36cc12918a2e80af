"""The picture of `frcnn check-data`: box sizes, ratios and classes against the configured anchors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from pipeline.datasets.base import SPLITS
from pipeline.geometry.anchors import Floats
from pipeline.params.anchors import AnchorParams
from pipeline.preflight.collecting import Checked
from pipeline.preflight.verdict import Verdict
from pipeline.views.charts import COLOURS, KINDS, AnyChart, box_cloud, count_bars, kind_colour, picture
from pipeline.views.encoding import Picture

_WIDTH, _HEIGHT = 400, 300
_MOST_POINTS = 4_000
_MOST_CLASSES = 20


def data_picture(root: Path, checked: Checked, anchors: AnchorParams, verdict: Verdict | None) -> Picture:
    """Four panels as one PNG: widths and heights, ratios, classes, and the distribution of the best IoU.

    Args:
        root: the data root, for the title.
        checked: what was read.
        anchors: the configured ones.
        verdict: on the boxes of train; None where it has none, and only the classes are drawn.
    """
    count = len(checked.gt.of("train"))
    classes = _classes(checked)
    if verdict is None:
        empty = alt.Chart(pd.DataFrame({"text": ["train has no box"]})).mark_text(fontSize=13).encode(text="text:N")
        panels: list[AnyChart] = [empty, empty, classes, empty]
    else:
        shapes = checked.gt.of("train").shapes
        panels = [_sizes(shapes, verdict), _ratios(shapes, anchors, verdict), classes, _best_iou(verdict)]
    titles = ["Sizes", "Ratios", classes.title, "Best anchor of each box"]
    panels = [
        panel.properties(width=_WIDTH, height=_HEIGHT, title=title) for panel, title in zip(panels, titles, strict=True)
    ]
    rows = [
        alt.hconcat(*own).resolve_scale(color="independent", shape="independent") for own in (panels[:2], panels[2:])
    ]
    title = f"{root.resolve().name}: {count} boxes of train, px of the resized images"
    every = alt.vconcat(*rows).resolve_scale(color="independent", shape="independent").properties(title=title)
    return picture(every, f"{root.name}: boxes against anchors")


def _sizes(shapes: Floats, verdict: Verdict) -> AnyChart:
    # Evenly spread over the data set, so that no chance is needed.
    few = shapes[:: -(-len(shapes) // _MOST_POINTS)]
    boxes = pd.DataFrame({"width": few[:, 0], "height": few[:, 1], "class": ""})
    fits = {"anchors": verdict.configured.shapes}
    if verdict.kind == "propose":
        fits["proposed"] = verdict.proposed.shapes
    marks = [
        pd.DataFrame({"width": own[:, 0], "height": own[:, 1], "anchor": "", "kind": k}) for k, own in fits.items()
    ]
    return box_cloud(boxes, pd.concat(marks))


def _ratios(shapes: Floats, anchors: AnchorParams, verdict: Verdict) -> AnyChart:
    ratios = shapes[:, 1] / shapes[:, 0]
    low, high = (float(bound) for bound in np.quantile(ratios, (0.002, 0.998)))
    low, high = min(low, *anchors.ratios) / 1.1, max(high, *anchors.ratios) * 1.1
    edges = np.geomspace(low, high, 41)
    counts, _ = np.histogram(np.clip(ratios, edges[0], edges[-1]), edges)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    kinds = [("anchors", anchors.ratios), ("proposed", verdict.grid.ratios)][: 1 + (verdict.kind == "propose")]
    return alt.layer(_bars(edges, counts, "height over width", scale, _room_above(counts)), _rules(kinds))


def _room_above(*counts: np.ndarray) -> alt.Y:
    """An axis of counts with room for words."""
    top = 1.2 * max(float(own.max()) for own in counts)
    return alt.Y("boxes:Q", title="boxes", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(tickMinStep=1))


def _bars(edges: np.ndarray, counts: np.ndarray, title: str, scale: alt.Scale, y: alt.Y) -> alt.Chart:
    """A histogram of boxes from its counts."""
    table = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "boxes": counts})
    axis = alt.Axis(labelOverlap="greedy")
    x = alt.X("from:Q", title=title, scale=scale, axis=axis)
    return alt.Chart(table).mark_bar(color=COLOURS[5]).encode(x, alt.X2("to:Q"), y, y2=alt.datum(0))


def _rules(kinds: Sequence[tuple[str, Sequence[float]]]) -> alt.Chart:
    """Vertical lines at the values of each kind."""
    table = pd.DataFrame([{"at": float(at), "kind": kind} for kind, places in kinds for at in places])
    dashes = alt.StrokeDash("kind:N", scale=alt.Scale(domain=list(KINDS), range=[[1, 0], [4, 3]]), legend=None)
    return alt.Chart(table).mark_rule(strokeWidth=1.6).encode(alt.X("at:Q"), kind_colour(), dashes)


def _classes(checked: Checked) -> alt.Chart:
    counts = {
        name: {split: checked.count(label, split) for split in SPLITS}
        for label, name in enumerate(checked.classes, start=1)
    }
    names = sorted(counts, key=lambda name: -sum(counts[name].values()))[:_MOST_CLASSES]
    splits = [split for split in SPLITS if checked.images[split]]
    rows = [{"class": name, "split": split, "boxes": counts[name][split]} for name in names for split in splits]
    left_out = len(counts) - len(names)
    title = f"Classes, the {len(names)} most frequent of {len(counts)}" if left_out else "Classes"
    table = pd.DataFrame(rows, columns=["class", "split", "boxes"])
    return count_bars(table, "class", "boxes", "split", title="boxes").properties(title=title)


def _best_iou(verdict: Verdict) -> AnyChart:
    edges = np.linspace(0, 1, 41)
    configured, _ = np.histogram(verdict.configured.best_iou, edges)
    proposed, _ = np.histogram(verdict.proposed.best_iou, edges)
    y = _room_above(configured, proposed)
    layers = [_bars(edges, configured, "IoU", alt.Scale(domain=[0, 1]), y)]
    means = [f"anchors (bars): mean {verdict.configured.mean:.2f}"]
    if verdict.kind == "propose":
        steps = pd.DataFrame({"from": edges, "boxes": [*proposed, proposed[-1]]})
        layers.append(
            alt.Chart(steps)
            .mark_line(interpolate="step-after", strokeWidth=1.6, color=KINDS["proposed"])
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
