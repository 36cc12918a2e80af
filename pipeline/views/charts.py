"""Charts, built by Altair: as Vega-Lite specifications for pages with scripts, and as PNG for all that shows no script.

Colours that follow a page's theme are left to the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import cv2
import numpy as np
import pandas as pd
import vl_convert

from pipeline.views.colours import COLOURS, GREY, KINDS, SPLITS, Look, hexadecimal, looks
from pipeline.views.encoding import MAX_BYTES, Picture, encode_png

Spec = dict[str, Any]
AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart

_HEIGHT = 260
_SMALL_HEIGHT = 220
_SQUARE_HEIGHT = 320
_SCALES = (1.5, 1.25, 1.0, 0.75)  # of a PNG's pixels
_PLAIN = {  # the looks of a picture: no theme comes from a page
    "background": "white",
    "axis": {"domainColor": "black", "domainWidth": 2, "gridColor": "#e5e5e5", "tickColor": "black"},
    "legend": {"labelLimit": 260, "symbolStrokeWidth": 2},
    "title": {"fontSize": 14, "limit": 1000},
}
_DEFAULT = alt.Legend()
_FEW_POINTS = 12  # a line of fewer is marked point by point; one of a single point would not be seen


def line_legend(**options: Any) -> alt.Legend:
    """A legend of lines, wide enough for their dashes to be seen; with options of `alt.Legend`."""
    return alt.Legend(symbolType="stroke", symbolSize=700, symbolStrokeWidth=2.5, **options)


_LINES = line_legend()


def curves(
    table: pd.DataFrame,
    x: str,
    y: str,
    series: str,
    *,
    x_title: str,
    small: bool = False,
    points: bool = False,
    styles: Mapping[str, Look] | None = None,
    **options: Any,
) -> Spec:
    """One line per series; the pointer shows the values of all series at its x, a click on the legend brings one series
    out.

    Args:
        table: long form, one row per point.
        x, y, series: names of its columns.
        small: for several charts in a row.
        points: mark each point.
        styles: as of `lines`.
        options: of `lines`.
    """
    chosen = alt.selection_point(fields=[series], bind="legend")
    chart = lines(table, x, y, series, x_title=x_title, points=points, styles=styles, **options).encode(
        opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12))
    )
    both = alt.layer(chart.add_params(chosen), _values_at_pointer(table, x, y, series, x_title))
    return _spec(both.properties(height=_SMALL_HEIGHT if small else _HEIGHT))


def _values_at_pointer(table: pd.DataFrame, x: str, y: str, series: str, x_title: str) -> alt.Chart:
    """A vertical line at the x nearest to the pointer, and the value of each series there."""
    wide = table.pivot_table(index=x, columns=series, values=y, sort=False)
    names = list(wide.columns)
    wide.columns = pd.Index([f"s{place}" for place in range(len(names))])  # a name may hold what means a path to Vega
    nearest = alt.selection_point(
        nearest=True, on="pointermove", encodings=["x"], empty=False, clear="pointerout", name="pointer"
    )
    values = [alt.Tooltip(f"s{place}:Q", title=str(name), format=".4~g") for place, name in enumerate(names)]
    return (
        alt.Chart(wide.reset_index())
        .mark_rule(strokeWidth=1.5, color=GREY)
        .encode(
            alt.X(f"{x}:Q"),
            opacity=alt.condition(nearest, alt.value(0.7), alt.value(0)),
            tooltip=[alt.Tooltip(f"{x}:Q", title=x_title, format=".4~g"), *values],
        )
        .add_params(nearest)
    )


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
    styles: Mapping[str, Look] | None = None,
    legend: alt.Legend | None = _LINES,
) -> alt.Chart:
    """One line per series, with its own colour and dashes, which the legend shows.

    Args:
        table: long form, one row per point.
        x, y, series: names of its columns.
        unit_y: y runs from 0 to 1; else from 0.
        points: mark each point.
        styles: the look of each series; one after another by default.
        legend: where and how the series are named.
    """
    scale = alt.Scale(type="log") if log_x else alt.Scale(zero=False, nice=False)
    names = list(dict.fromkeys(table[series]))
    own = styles or looks(names)
    step = 1 if not log_x and (table[x] % 1 == 0).all() else alt.Undefined  # no half iterations
    dashes = alt.Scale(domain=names, range=[list(own[name].dash) for name in names])
    return (
        alt.Chart(table)
        .mark_line(point=points or len(table) <= _FEW_POINTS * len(names), strokeWidth=2)
        .encode(
            alt.X(f"{x}:Q", title=x_title, scale=scale, axis=alt.Axis(labelOverlap=True, tickMinStep=step)),
            alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(domain=[0, 1]) if unit_y else alt.Scale(zero=True)),
            alt.Color(f"{series}:N", title=None, sort=names, scale=_palette(own, names), legend=_any(names, legend)),
            alt.StrokeDash(f"{series}:N", title=None, sort=names, scale=dashes, legend=_any(names, legend)),
        )
    )


def grouped_bars(
    table: pd.DataFrame, group: str, value: str, series: str, styles: Mapping[str, Look], *, title: str
) -> Spec:
    """Horizontal bars of 0..1: a group for each value of `group`, one bar per series, in the colours of `styles`."""
    names = list(dict.fromkeys(table[series]))
    groups = list(dict.fromkeys(table[group]))
    chart = alt.Chart(table).encode(
        alt.Y(f"{group}:N", title=None, sort=groups),
        alt.X(f"{value}:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=10)),
        alt.YOffset(f"{series}:N", sort=names),
        tooltip=[group, series, alt.Tooltip(value, format=".3f")],
    )
    bars = chart.mark_bar().encode(alt.Color(f"{series}:N", title=None, sort=names, scale=_palette(styles, names)))
    texts = chart.mark_text(align="left", dx=3, fontSize=10).encode(text=alt.Text(value, format=".3f"))
    return _spec((bars + texts).properties(height=16 * len(groups) * len(names) + 12))


def counts(table: pd.DataFrame, name: str, count: str, series: str, *, title: str) -> Spec:
    """The chart of `count_bars`."""
    bars = count_bars(table, name, count, series, title=title)
    rows = table[name].nunique() * table[series].nunique()
    return _spec(bars.properties(height=14 * max(rows, 1) + 12))


def count_bars(table: pd.DataFrame, name: str, count: str, series: str, *, title: str) -> alt.Chart:
    """Horizontal bars of counts, one per row of `name` and series, a split, on a scale that shows 1 beside 10,000."""
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
            alt.Color(
                f"{series}:N",
                title=None,
                sort=names,
                scale=alt.Scale(domain=names, range=[SPLITS.get(name, GREY) for name in names]),
                legend=_any(names),
            ),
            alt.YOffset(f"{series}:N", sort=names),
            tooltip=[f"{name}:N", f"{series}:N", f"{count}:Q"],
        )
    )


def box_sizes(boxes: pd.DataFrame, anchors: pd.DataFrame) -> Spec:
    """The chart of `box_cloud`."""
    return _spec(box_cloud(boxes, anchors).properties(height=_SQUARE_HEIGHT))


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
        .mark_point(shape="square", size=90, strokeWidth=2.5, opacity=1, color=COLOURS[4])
        .encode(x, y, tooltip=["anchor", alt.Tooltip("width", format=".0f"), alt.Tooltip("height", format=".0f")])
    )
    if "kind" in anchors:
        kinds = kinds_of(anchors)
        scale = alt.Scale(domain=kinds, range=["square", "diamond"][: len(kinds)])
        shapes = alt.Shape("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top-left"))
        marks = marks.encode(kind_colour(kinds), shapes)
    return alt.layer(cloud, marks)


ANCHORS = {"anchors": COLOURS[4], "proposed": COLOURS[2]}
"""The colours of the configured anchors and of those that are proposed."""


def kinds_of(table: pd.DataFrame) -> list[str]:
    """The kinds in column `kind`, in their order."""
    return [kind for kind in ANCHORS if (table["kind"] == kind).any()]


def kind_colour(kinds: Sequence[str]) -> alt.Color:
    """The colour of anchors of these kinds, by column kind."""
    scale = alt.Scale(domain=list(kinds), range=[ANCHORS[kind] for kind in kinds])
    return alt.Color("kind:N", title=None, scale=scale, legend=alt.Legend(orient="top-left"))


def histogram(values: pd.DataFrame, value: str, *, title: str, marks: tuple[float, ...] = ()) -> Spec:
    """How many boxes have which value of 0..1, in bins of .025, with vertical lines at `marks`."""
    bars = (
        alt.Chart(values)
        .mark_bar(color=COLOURS[5])
        .encode(
            alt.X(f"{value}:Q", bin=alt.Bin(step=0.025, extent=[0, 1]), title=title),
            alt.Y("count()", title="boxes", axis=alt.Axis(tickMinStep=1)),
        )
    )
    lines = (
        alt.Chart(pd.DataFrame({"at": list(marks)}))
        .mark_rule(strokeDash=[4, 3], strokeWidth=2, color=COLOURS[4])
        .encode(x="at:Q")
    )
    return _spec((bars + lines).properties(height=_SQUARE_HEIGHT))


def error_kinds(table: pd.DataFrame) -> Spec:
    """Stacked bars: how many detections, and missed boxes, of each kind; columns network, kind, count."""
    kinds = {kind: hexadecimal(colour) for kind, colour in KINDS.items() if kind != "ignored"}
    words = [kind.replace("_", " ") for kind in kinds]
    table = table.assign(kind=table["kind"].str.replace("_", " "))
    order = alt.Chart(table).transform_calculate(order=f"indexof({words!r}, datum.kind)")
    chart = order.mark_bar(stroke=GREY, strokeWidth=0.75).encode(  # yellow has no contrast with white of its own
        alt.Y("network:N", title=None, sort=list(dict.fromkeys(table["network"]))),
        alt.X("count:Q", title="detections, and gt boxes that are missed", axis=alt.Axis(tickMinStep=1)),
        alt.Color("kind:N", title=None, sort=words, scale=alt.Scale(domain=words, range=list(kinds.values()))),
        alt.Order("order:Q"),
        tooltip=["network", "kind", "count"],
    )
    return _spec(chart.properties(height=30 * table["network"].nunique()))


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
    # The last name slants beyond the cells.
    room = {"left": 5, "top": 5, "bottom": 5, "right": 40}
    return {**_spec(layers.properties(height=max(16, step - 8) * len(classes))), "padding": room}


def picture(chart: AnyChart, caption: str) -> Picture:
    """The chart as a PNG, of at most 150 kB where one of `_SCALES` allows it; equal bytes on one machine."""
    spec = {**_spec(chart, None), "config": _PLAIN | {"view": {"stroke": None}}}
    for scale in _SCALES:
        drawn = np.frombuffer(vl_convert.vegalite_to_png(spec, scale=scale), np.uint8)
        pixels = cv2.imdecode(drawn, cv2.IMREAD_COLOR_RGB)
        assert pixels is not None  # its own PNG
        made = encode_png(pixels, caption)
        if len(made.data) <= MAX_BYTES:
            break
    return made


def _any(names: list[str], legend: alt.Legend | None = _DEFAULT) -> alt.Legend | None:
    """The legend, none of no series: a picture with an empty one has no size."""
    return legend if names else None


def _palette(styles: Mapping[str, Look], names: Iterable[str]) -> alt.Scale:
    own = list(names)
    return alt.Scale(domain=own, range=[styles[name].colour for name in own])


def _spec(chart: AnyChart, width: str | None = "container") -> Spec:
    """The specification; of a page's chart with the width of its place there, of a picture's with its own."""
    with alt.data_transformers.enable("default", max_rows=None):
        spec: Spec = chart.configure_view(strokeOpacity=0).to_dict()
    # The page applies its own theme, and needs no address of the schema.
    spec.pop("$schema", None)
    if width is not None:
        spec |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    return spec
