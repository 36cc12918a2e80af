"""Charts, built by Altair: as Vega-Lite specifications for pages with scripts, and as PNG for all that shows no script.

Colours that follow a page's theme are left to the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import cv2
import numpy as np
import pandas as pd
import vl_convert

from pipeline.views.encoding import MAX_BYTES, Picture, encode_png

Spec = dict[str, Any]
AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart

# Okabe and Ito's colours that stand out on white and on near-black alike.
COLOURS = ("#2A8BD0", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8A8A")
KIND_COLOURS = {
    "correct": "#009E73",
    "duplicate": "#56B4E9",
    "wrong_class": "#CC79A7",
    "badly_placed": "#E69F00",
    "background": "#D55E00",
    "missed": "#8A8A8A",
}
_WIDTH = 520
_HEIGHT = 260
_SMALL_WIDTH = 330
_SMALL_HEIGHT = 190
_SCALES = (1.5, 1.25, 1.0, 0.75)  # of a PNG's pixels
_PLAIN = {  # the looks of a picture: no theme comes from a page
    "background": "white",
    "axis": {"domainColor": "black", "domainWidth": 2, "gridColor": "#e5e5e5", "tickColor": "black"},
    "legend": {"labelLimit": 260, "symbolStrokeWidth": 2},
    "title": {"fontSize": 14, "limit": 1000},
}
_FEW_POINTS = 12  # a line of fewer is marked point by point; one of a single point would not be seen


def curves(
    table: pd.DataFrame, x: str, y: str, series: str, *, small: bool = False, points: bool = False, **options: Any
) -> Spec:
    """One line a series; hovering over the chart shows the values, a click on the legend brings one series out.

    Args:
        table: long form, a row a point.
        x, y, series: names of its columns.
        small: for several charts in a row.
        points: mark each point.
        options: of `lines`.
    """
    chosen = alt.selection_point(fields=[series], bind="legend")
    chart = lines(table, x, y, series, points=points, **options).encode(
        opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
        tooltip=[series, alt.Tooltip(x, format=".4~g"), alt.Tooltip(y, format=".4~g")],
    )
    width, height = (_SMALL_WIDTH, _SMALL_HEIGHT) if small else (_WIDTH, _HEIGHT)
    return _spec(chart.add_params(chosen).properties(width=width, height=height))


def lines(
    table: pd.DataFrame,
    x: str,
    y: str,
    series: str,
    *,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    unit_y: bool = True,
    points: bool = False,
    legend: alt.Legend | alt.UndefinedType | None = alt.Undefined,
) -> alt.Chart:
    """One line a series, of its own colour and dashes.

    Args:
        table: long form, a row a point.
        x, y, series: names of its columns.
        unit_y: y runs from 0 to 1; else from 0.
        points: mark each point.
        legend: where and how the series are named.
    """
    scale = alt.Scale(type="log") if log_x else alt.Scale(zero=False, nice=False)
    names = list(dict.fromkeys(table[series]))
    return (
        alt.Chart(table)
        .mark_line(point=points or len(table) <= _FEW_POINTS * len(names), strokeWidth=2)
        .encode(
            alt.X(f"{x}:Q", title=x_title, scale=scale, axis=alt.Axis(labelOverlap="greedy")),
            alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(domain=[0, 1]) if unit_y else alt.Scale(zero=True)),
            alt.Color(f"{series}:N", title=None, sort=names, scale=_palette(len(names)), legend=_any(names, legend)),
            strokeDash=alt.StrokeDash(f"{series}:N", sort=names, legend=None),
        )
    )


def grouped_bars(table: pd.DataFrame, group: str, value: str, series: str, *, title: str) -> Spec:
    """Horizontal bars of 0..1: a group of them for each value of `group`, one a series."""
    names = list(dict.fromkeys(table[series]))
    groups = list(dict.fromkeys(table[group]))
    chart = alt.Chart(table).encode(
        alt.Y(f"{group}:N", title=None, sort=groups),
        alt.X(f"{value}:Q", title=title, scale=alt.Scale(domain=[0, 1])),
        alt.YOffset(f"{series}:N", sort=names),
        tooltip=[group, series, alt.Tooltip(value, format=".3f")],
    )
    bars = chart.mark_bar().encode(alt.Color(f"{series}:N", title=None, sort=names, scale=_palette(len(names))))
    texts = chart.mark_text(align="left", dx=3, fontSize=10).encode(text=alt.Text(value, format=".3f"))
    return _spec((bars + texts).properties(width=_WIDTH, height={"step": 15}))


def counts(table: pd.DataFrame, name: str, count: str, series: str, *, title: str) -> Spec:
    """The chart of `count_bars`."""
    bars = count_bars(table, name, count, series, title=title)
    return _spec(bars.properties(width=_SMALL_WIDTH, height={"step": 14}))


def count_bars(table: pd.DataFrame, name: str, count: str, series: str, *, title: str) -> alt.Chart:
    """Horizontal bars of counts, one a row of `name` and series, on a scale that shows 1 beside 10,000."""
    names = list(dict.fromkeys(table[series]))
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            alt.Y(f"{name}:N", title=None, sort=list(dict.fromkeys(table[name]))),
            alt.X(
                f"{count}:Q",
                title=title,
                scale=alt.Scale(type="symlog"),
                axis=alt.Axis(labelOverlap="greedy", tickCount=5),
            ),
            alt.Color(f"{series}:N", title=None, sort=names, scale=_palette(len(names)), legend=_any(names)),
            alt.YOffset(f"{series}:N", sort=names),
            tooltip=[f"{name}:N", f"{series}:N", f"{count}:Q"],
        )
    )


def box_sizes(boxes: pd.DataFrame, anchors: pd.DataFrame) -> Spec:
    """The chart of `box_cloud`."""
    return _spec(box_cloud(boxes, anchors).properties(width=_SMALL_WIDTH, height=_SMALL_WIDTH))


def box_cloud(boxes: pd.DataFrame, anchors: pd.DataFrame) -> AnyChart:
    """Widths and heights of boxes, and the anchors of one location among them, on equal logarithmic axes.

    Args:
        boxes: columns width, height (px of the resized image), class.
        anchors: columns width, height, anchor (its name) and, for a legend, kind: anchors or proposed.
    """
    both = pd.concat([boxes[["width", "height"]], anchors[["width", "height"]]])
    domain = [float(both.min().min()) / 1.2, float(both.max().max()) * 1.2]
    scale = alt.Scale(type="log", domain=domain, nice=False)
    axis = alt.Axis(labelOverlap="greedy", tickCount=6)
    x = alt.X("width:Q", scale=scale, title="width, px", axis=axis)
    y = alt.Y("height:Q", scale=scale, title="height, px", axis=axis)
    cloud = (
        alt.Chart(boxes)
        .mark_circle(size=14, opacity=0.45, color=COLOURS[5])
        .encode(x, y, tooltip=["class", alt.Tooltip("width", format=".0f"), alt.Tooltip("height", format=".0f")])
    )
    marks = (
        alt.Chart(anchors)
        .mark_point(shape="square", size=90, strokeWidth=2.5, color=COLOURS[4])
        .encode(x, y, tooltip=["anchor", alt.Tooltip("width", format=".0f"), alt.Tooltip("height", format=".0f")])
    )
    if "kind" in anchors:
        kinds = kinds_of(anchors)
        scale = alt.Scale(domain=kinds, range=["square", "diamond"][: len(kinds)])
        shapes = alt.Shape("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top-left"))
        marks = marks.encode(kind_colour(kinds), shapes)
    return alt.layer(cloud, marks)


KINDS = {"anchors": COLOURS[4], "proposed": COLOURS[2]}


def kinds_of(table: pd.DataFrame) -> list[str]:
    """The kinds in column kind, in their order."""
    return [kind for kind in KINDS if (table["kind"] == kind).any()]


def kind_colour(kinds: Sequence[str]) -> alt.Color:
    """The colour of anchors of these kinds, by column kind."""
    scale = alt.Scale(domain=list(kinds), range=[KINDS[kind] for kind in kinds])
    return alt.Color("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top-left"))


def histogram(values: pd.DataFrame, value: str, *, title: str, marks: tuple[float, ...] = ()) -> Spec:
    """How many boxes have which value of 0..1, in bins of .025, with vertical lines at `marks`."""
    bars = (
        alt.Chart(values)
        .mark_bar(color=COLOURS[5])
        .encode(
            alt.X(f"{value}:Q", bin=alt.Bin(step=0.025, extent=[0, 1]), title=title), alt.Y("count()", title="boxes")
        )
    )
    lines = (
        alt.Chart(pd.DataFrame({"at": list(marks)}))
        .mark_rule(strokeDash=[4, 3], strokeWidth=2, color=COLOURS[4])
        .encode(x="at:Q")
    )
    return _spec((bars + lines).properties(width=_SMALL_WIDTH, height=_SMALL_WIDTH))


def error_kinds(table: pd.DataFrame) -> Spec:
    """Stacked bars: how many detections, and missed boxes, of each kind; columns network, kind, count."""
    kinds = list(KIND_COLOURS)
    order = alt.Chart(table).transform_calculate(order=f"indexof({kinds!r}, datum.kind)")
    chart = order.mark_bar().encode(
        alt.Y("network:N", title=None, sort=list(dict.fromkeys(table["network"]))),
        alt.X("count:Q", title="detections, and gt boxes that are missed"),
        alt.Color("kind:N", title=None, sort=kinds, scale=alt.Scale(domain=kinds, range=list(KIND_COLOURS.values()))),
        alt.Order("order:Q"),
        tooltip=["network", "kind", "count"],
    )
    return _spec(chart.properties(width=_WIDTH, height={"step": 30}))


def confusion(table: pd.DataFrame, classes: list[str]) -> Spec:
    """Rows are actual, columns predicted classes; colour is the share of the row, the number the count.

    Args:
        table: columns actual, predicted, count, share (of the row, 0..1).
        classes: names in the order to show.
    """
    # All classes both ways, those too that are never confused.
    scale = alt.Scale(domain=classes)
    base = alt.Chart(table).encode(
        alt.X("predicted:N", scale=scale, title="predicted", axis=alt.Axis(labelAngle=-40, orient="top")),
        alt.Y("actual:N", scale=scale, title="actual"),
        tooltip=["actual", "predicted", "count", alt.Tooltip("share", format=".1%")],
    )
    cells = base.mark_rect().encode(
        alt.Color("share:Q", title="share", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=None)
    )
    numbers = base.mark_text(fontSize=11).encode(
        text="count:Q", color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value("#222"))
    )
    step = 34 if len(classes) <= 30 else 16
    layers = cells + numbers if len(classes) <= 30 else cells
    return _spec(layers.properties(width={"step": step}, height={"step": max(16, step - 8)}))


def picture(chart: AnyChart, caption: str) -> Picture:
    """The chart as a PNG, of at most 150 kB where one of `_SCALES` allows it; equal bytes on one machine."""
    spec = {**_spec(chart), "config": _PLAIN | {"view": {"stroke": None}}}
    for scale in _SCALES:
        drawn = np.frombuffer(vl_convert.vegalite_to_png(spec, scale=scale), np.uint8)
        pixels = cv2.imdecode(drawn, cv2.IMREAD_COLOR_RGB)
        assert pixels is not None  # its own PNG
        made = encode_png(pixels, caption)
        if len(made.data) <= MAX_BYTES:
            break
    return made


def _any(
    names: list[str], legend: alt.Legend | alt.UndefinedType | None = alt.Undefined
) -> alt.Legend | alt.UndefinedType | None:
    """The legend, none of no series: a picture with an empty one has no size."""
    return legend if names else None


def _palette(count: int) -> alt.Scale:
    return alt.Scale(range=list(COLOURS)) if count <= len(COLOURS) else alt.Scale(scheme="tableau20")


def _spec(chart: AnyChart) -> Spec:
    with alt.data_transformers.enable("default", max_rows=None):
        spec: Spec = chart.configure_view(strokeOpacity=0).to_dict()
    # The page applies its own theme, and needs no address of the schema.
    spec.pop("$schema", None)
    return spec
