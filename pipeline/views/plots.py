"""Curves: losses of a training stage, precision and recall of an evaluation.

Figures are built without pyplot, so that several threads can make them and no figure stays behind. Importing this
module costs matplotlib's import; import it where a plot is wanted.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from pipeline.errors import InputError
from pipeline.views.csv_columns import read_numbers
from pipeline.views.drawing import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION, Colour
from pipeline.views.encoding import Picture
from pipeline.views.metrics_file import read_metrics

_DPI = 110
_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY_BLUE)
_DASHES = ("-", "--", ":", "-.")
_GREY = "0.45"
# More lines than this cannot be distinguished.
_MOST_NAMED_CLASSES = 10
_FEW_POINTS = 12

_Corner = Literal["lower left", "lower right"]


def loss_plot(history_csv: Path) -> Picture:
    """Each loss of a history.csv over the iterations, and below it the learning rate.

    Raises:
        InputError: the file is missing or is no history.
    """
    columns = read_numbers(history_csv, "iteration", "lr", "loss")
    iteration = columns["iteration"]
    marker = "o" if len(iteration) <= _FEW_POINTS else ""
    figure = Figure(figsize=(7.2, 4.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=(5, 1))
    losses = figure.add_subplot(grid[0])
    rates = figure.add_subplot(grid[1], sharex=losses)
    losses.plot(iteration, columns["loss"], color=rgb(BLACK), linewidth=2, marker=marker, label="loss (sum)")
    parts = [name for name in columns if name not in ("iteration", "lr", "loss")]
    for index, name in enumerate(parts):
        losses.plot(
            iteration,
            columns[name],
            color=rgb(_COLOURS[index % len(_COLOURS)]),
            linestyle=_DASHES[index % len(_DASHES)],
            marker=marker,
            label=name,
        )
    losses.set_ylabel("loss")
    losses.set_ylim(bottom=0)
    losses.tick_params(labelbottom=False)
    losses.legend(frameon=False, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), columnspacing=1.2)
    rates.plot(iteration, columns["lr"], color=_GREY, marker=marker, markersize=3)
    rates.set_ylim(bottom=0)
    rates.set_ylabel("lr")
    rates.set_xlabel("iteration")
    for axes in (losses, rates):
        plain(axes)
    stage = Path(history_csv).parent.name
    last = f"{columns['loss'][-1]:.3g} after {int(iteration[-1])} iterations"
    return rendered(figure, f"{stage}: losses; {columns['loss'][0]:.3g} at first, {last}")


def curve_plots(folder: Path) -> Picture:
    """Precision against recall class by class, and the recall of the proposals against their number and against IoU.

    Raises:
        InputError: a file of the evaluate stage is missing or damaged.
    """
    folder = Path(folder)
    figure = Figure(figsize=(12.5, 4.2), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    precision, by_number, by_iou = figure.subplots(1, 3)
    _draw_precision(precision, folder)
    _draw_recall_by_number(by_number, folder)
    _draw_recall_by_iou(by_iou, folder)
    for axes in (precision, by_number, by_iou):
        axes.set_ylim(-0.02, 1.02)
        plain(axes)
    mean = read_metrics(folder).get("mAP50")
    suffix = f", mAP at IoU .5 {mean:.3f}" if isinstance(mean, float) else ""
    return rendered(figure, f"{folder.name}: precision and recall{suffix}")


def _draw_precision(axes: Axes, folder: Path) -> None:
    path = folder / "pr_curves.csv"
    curves = read_numbers(path, "recall", "precision")
    if "class" not in curves:
        raise InputError(f"{path}: has no column 'class'; dvc repro {folder.name}")
    scores = read_metrics(folder).get("class_AP50")
    scores = scores if isinstance(scores, dict) else {}
    classes = list(dict.fromkeys(curves["class"].astype(str).tolist()))
    # A class without gt boxes has no curve, and its row of zeros would look like a failure.
    judged = [name for name in classes if scores.get(name, 0.0) is not None]
    named = len(judged) <= _MOST_NAMED_CLASSES
    of_class = {name: curves["class"].astype(str) == name for name in judged}
    for index, name in enumerate(judged):
        rows = of_class[name]
        ap = f" (AP {scores[name]:.2f})" if name in scores else ""
        style = {"color": rgb(_COLOURS[index % len(_COLOURS)]), "linestyle": _DASHES[index % len(_DASHES)]}
        axes.plot(
            curves["recall"][rows],
            curves["precision"][rows],
            label=plain_text(name) + ap if named else None,
            **style if named else {"color": "0.75", "linewidth": 0.8},
        )
    if judged and not named:
        mean = np.mean([curves["precision"][rows] for rows in of_class.values()], axis=0)
        axes.plot(
            curves["recall"][of_class[judged[0]]],
            mean,
            color=rgb(BLUE),
            linewidth=2,
            label=f"mean of {len(judged)} classes",
        )
    axes.set_xlim(-0.02, 1.02)
    _describe(axes, "Detections, IoU .5", "recall", "precision", "lower left")


def _draw_recall_by_number(axes: Axes, folder: Path) -> None:
    recall = read_numbers(folder / "recall_by_proposals.csv", "proposals", "recall50", "recall70")
    for index, (name, label) in enumerate((("recall50", "IoU .5"), ("recall70", "IoU .7"))):
        axes.plot(
            recall["proposals"],
            recall[name],
            color=rgb(_COLOURS[index]),
            linestyle=_DASHES[index],
            marker="o",
            markersize=4,
            label=label,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    _describe(axes, "Proposals, by their number", "best proposals an image", "recall of gt boxes", "lower right")


def _draw_recall_by_iou(axes: Axes, folder: Path) -> None:
    recall = read_numbers(folder / "recall_by_iou.csv", "iou")
    budgets = [name for name in recall if name.startswith("recall_of_")]
    for index, name in enumerate(budgets):
        axes.plot(
            recall["iou"],
            recall[name],
            color=rgb(_COLOURS[index % len(_COLOURS)]),
            linestyle=_DASHES[index % len(_DASHES)],
            label=f"best {name.removeprefix('recall_of_')}",
        )
    _describe(axes, "Proposals, by IoU", "IoU", "recall of gt boxes", "lower left")


def _describe(axes: Axes, title: str, x: str, y: str, legend: _Corner) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=legend, fontsize="small", framealpha=0.85, edgecolor="none")


def plain(axes: Axes) -> None:
    """A light grid, and no frame at the top and on the right."""
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


def plain_text(name: str, longest: int = 40) -> str:
    """A name as matplotlib shows it letter by letter: no formula, not too long, in a legend whatever it begins with."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}\u2026"
    text = short.replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text  # legends leave out what begins with _


def rgb(colour: Colour) -> tuple[float, float, float]:
    """A colour as matplotlib takes it, 0..1."""
    return (colour[0] / 255, colour[1] / 255, colour[2] / 255)


def rendered(figure: Figure, caption: str) -> Picture:
    """The figure as a PNG whose bytes depend on nothing but what it shows."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing", UserWarning)  # an empty box stands for it
        # matplotlib would write its version, and with it other bytes after each update.
        figure.savefig(stream, format="png", metadata={"Software": None})
    return Picture(stream.getvalue(), "image/png", caption)
