"""The picture of `frcnn check-data`: box sizes, ratios and classes against the configured anchors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.anchor_layout import Floats
from pipeline.datasets.base import SPLITS
from pipeline.params.detector import AnchorParams
from pipeline.preflight.collecting import Checked
from pipeline.preflight.verdict import Verdict
from pipeline.views.drawing import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILLION
from pipeline.views.encoding import Picture
from pipeline.views.plots import plain, plain_text, rendered, rgb

_DPI = 100
_MOST_POINTS = 4_000
_FEW_POINTS = 600
_MOST_CLASSES = 20
_LONGEST_NAME = 18
_BAR_START = 0.7  # boxes
_SPLIT_COLOURS = dict(zip(SPLITS, (BLUE, SKY_BLUE, ORANGE), strict=True))


def data_picture(root: Path, checked: Checked, anchors: AnchorParams, verdict: Verdict | None) -> Picture:
    """Four panels as one PNG: widths and heights, ratios, classes, and the distribution of the best IoU.

    Args:
        root: the data root, for the title.
        checked: what was read.
        anchors: the configured ones.
        verdict: on the boxes of train; None where it has none, and only the classes are drawn.
    """
    figure = Figure(figsize=(11.5, 8.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    count = len(checked.gt.of("train"))
    figure.suptitle(f"{plain_text(root.resolve().name)}: {count} boxes of train, px of the resized images")
    panels: list[Axes] = figure.subplots(2, 2).ravel().tolist()
    _draw_classes(panels[2], checked)
    if verdict is None:
        for axes in (panels[0], panels[1], panels[3]):
            axes.set_axis_off()
            axes.text(0.5, 0.5, "train has no box", ha="center", va="center", transform=axes.transAxes)
    else:
        shapes = checked.gt.of("train").shapes
        _draw_sizes(panels[0], shapes, verdict)
        _draw_ratios(panels[1], shapes, anchors, verdict)
        _draw_best_iou(panels[3], verdict)
    for axes in panels:
        plain(axes)
        axes.set_axisbelow(True)
    panels[2].grid(visible=False, axis="y")
    return rendered(figure, f"{root.name}: boxes against anchors")


def _draw_sizes(axes: Axes, shapes: Floats, verdict: Verdict) -> None:
    # Evenly spread over the data set, so that no chance is needed.
    few = shapes[:: -(-len(shapes) // _MOST_POINTS)]
    size, alpha = (9, 0.35) if len(few) > _FEW_POINTS else (16, 0.55)
    axes.scatter(few[:, 0], few[:, 1], s=size, color=rgb(BLUE), alpha=alpha, linewidths=0, label="boxes")
    _mark(axes, verdict.configured.shapes, "s", VERMILLION, "anchors")
    if verdict.kind == "propose":
        _mark(axes, verdict.proposed.shapes, "D", GREEN, "proposed")
    everything = np.concatenate([few, verdict.configured.shapes])
    limits = float(everything.min()) / 1.3, float(everything.max()) * 1.3
    for scale, limit in ((axes.set_xscale, axes.set_xlim), (axes.set_yscale, axes.set_ylim)):
        scale("log")
        limit(*limits)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_logarithms(axis)
    axes.set_aspect("equal", adjustable="box")
    axes.set(title="Sizes", xlabel="width (px)", ylabel="height (px)")
    axes.legend(loc="upper left", fontsize="small", framealpha=0.85, edgecolor="none")


def _mark(axes: Axes, shapes: Floats, marker: str, colour: tuple[int, int, int], label: str) -> None:
    axes.scatter(
        shapes[:, 0], shapes[:, 1], s=42, marker=marker, facecolors="none", edgecolors=rgb(colour), lw=1.6, label=label
    )


def _draw_ratios(axes: Axes, shapes: Floats, anchors: AnchorParams, verdict: Verdict) -> None:
    ratios = shapes[:, 1] / shapes[:, 0]
    low, high = (float(bound) for bound in np.quantile(ratios, (0.002, 0.998)))
    low, high = min(low, *anchors.ratios) / 1.1, max(high, *anchors.ratios) * 1.1
    axes.hist(np.clip(ratios, low, high), np.geomspace(low, high, 41).tolist(), color=rgb(SKY_BLUE))
    _lines(axes, anchors.ratios, VERMILLION, "-", "anchors")
    if verdict.kind == "propose":
        _lines(axes, verdict.grid.ratios, GREEN, "--", "proposed")
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.16)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _plain_logarithms(axes.xaxis)
    axes.set(title="Ratios", xlabel="height over width", ylabel="boxes")
    axes.legend(fontsize="small", framealpha=0.85, edgecolor="none")


def _lines(axes: Axes, places: Sequence[float], colour: tuple[int, int, int], dash: str, label: str) -> None:
    for index, place in enumerate(places):
        axes.axvline(place, color=rgb(colour), linestyle=dash, linewidth=1.6, label=label if index == 0 else None)


def _draw_classes(axes: Axes, checked: Checked) -> None:
    counts = {
        name: [checked.count(label, split) for split in SPLITS] for label, name in enumerate(checked.classes, start=1)
    }
    names = sorted(counts, key=lambda name: -sum(counts[name]))[:_MOST_CLASSES]
    splits = [split for split in SPLITS if checked.images[split]]
    thickness = 0.8 / max(1, len(splits))
    most = max((max(counts[name]) for name in names), default=0)
    for index, split in enumerate(splits):
        own = [counts[name][SPLITS.index(split)] for name in names]
        places = [row + (index - (len(splits) - 1) / 2) * thickness for row in range(len(names))]
        # The axis starts below 1, so that a bar of one box is seen.
        lengths = [max(0.0, count - _BAR_START) for count in own]
        axes.barh(places, lengths, thickness, left=_BAR_START, color=rgb(_SPLIT_COLOURS[split]), label=split)
    axes.set_xscale("log")
    axes.set_xlim(_BAR_START, max(2, most) * 1.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    labels = [plain_text(name, _LONGEST_NAME) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize="small" if len(names) > 10 else None)
    axes.set_ylim(len(names) - 0.4, -0.6)
    left_out = len(counts) - len(names)
    axes.set(
        title="Classes" + (f", the {len(names)} most frequent of {len(counts)}" if left_out else ""), xlabel="boxes"
    )
    if splits:
        axes.legend(loc="lower right", fontsize="small", framealpha=0.85, edgecolor="none")


def _draw_best_iou(axes: Axes, verdict: Verdict) -> None:
    bins = np.linspace(0, 1, 41).tolist()
    axes.hist(
        verdict.configured.best_iou, bins, color=rgb(SKY_BLUE), label=f"anchors, mean {verdict.configured.mean:.2f}"
    )
    if verdict.kind == "propose":
        label = f"proposed, mean {verdict.proposed.mean:.2f}"
        axes.hist(verdict.proposed.best_iou, bins, histtype="step", linewidth=1.6, color=rgb(GREEN), label=label)
    top = axes.get_ylim()[1] * 1.16  # room for words
    axes.set_ylim(0, top)
    for iou in (0.5, 0.7):
        axes.axvline(iou, color="0.25", linestyle=":")
        note = f"{verdict.configured.below(iou):.1%}\nbelow {f'{iou:g}'[1:]} "
        axes.text(iou - 0.008, top * 0.98, note, ha="right", va="top", fontsize="small")
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="Best anchor of each box", xlabel="IoU", ylabel="boxes")
    axes.legend(loc="upper left", fontsize="small", framealpha=0.85, edgecolor="none")


def _plain_logarithms(axis: object) -> None:
    """Ticks at 1, 2 and 5 of each power of ten, written out."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # type: ignore[attr-defined]
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
