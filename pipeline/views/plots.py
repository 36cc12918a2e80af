"""Curves as pictures: losses of a training stage, precision and recall of an evaluation.

Importing this module costs Altair's import; import it where a plot is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import altair as alt
import pandas as pd

from pipeline.runtime.errors import InputError
from pipeline.views.charts import AnyChart, line_legend, lines, picture
from pipeline.views.colours import GREY, Look, class_looks, loss_looks
from pipeline.views.csv_columns import read_numbers
from pipeline.views.encoding import Picture
from pipeline.views.json_files import read_metrics

_WIDTH, _HEIGHT = 560, 280
_RATES_HEIGHT = 50
_SMALL_WIDTH, _SMALL_HEIGHT = 300, 260
# More lines than this cannot be distinguished.
_MOST_NAMED_CLASSES = 10
_TOTAL = "loss (sum)"
_LEGEND = line_legend(orient="bottom", columns=2)


def loss_plot(history_csv: Path, known: Sequence[str] = ()) -> Picture:
    """Each loss of a history.csv over the iterations, and below it the learning rate.

    Args:
        known: as of `loss_looks`.

    Raises:
        InputError: the file is missing or is not a history.
    """
    columns = read_numbers(history_csv, "iteration", "lr", "loss")
    iteration = columns["iteration"]
    parts = [name for name in columns if name not in ("iteration", "lr", "loss")]
    curves = {_TOTAL: columns["loss"], **{name: columns[name] for name in parts}}
    table = pd.concat([pd.DataFrame({"iteration": iteration, "value": v, "loss": k}) for k, v in curves.items()])
    legend = line_legend(orient="top", columns=5)
    styles = {_TOTAL: Look(GREY), **loss_looks(parts, known)}
    losses = lines(
        table, "iteration", "value", "loss", x_title="", y_title="loss", unit_y=False, styles=styles, legend=legend
    ).properties(width=_WIDTH, height=_HEIGHT)
    rates = lines(
        pd.DataFrame({"iteration": iteration, "lr": columns["lr"], "name": "lr"}),
        "iteration",
        "lr",
        "name",
        x_title="iteration",
        y_title="lr",
        unit_y=False,
        legend=None,
    ).properties(width=_WIDTH, height=_RATES_HEIGHT)
    stage = Path(history_csv).parent.name
    last = f"{columns['loss'][-1]:.3g} after {int(iteration[-1])} iterations"
    both = alt.vconcat(losses, rates).resolve_scale(color="independent", strokeDash="independent")
    return picture(both, f"{stage}: losses; {columns['loss'][0]:.3g} at first, {last}")


def curve_plots(folder: Path, others: Sequence[Callable[[Path], alt.Chart]] = ()) -> Picture:
    """Precision against recall class by class, and beside it other charts of the folder, a family's own.

    Raises:
        InputError: a file of the evaluate stage is missing or damaged.
    """
    folder = Path(folder)
    charts = [_precision(folder), *(make(folder) for make in others)]
    row = alt.hconcat(*(chart.properties(width=_SMALL_WIDTH, height=_SMALL_HEIGHT) for chart in charts))
    mean = read_metrics(folder).get("mAP50")
    suffix = f", mAP at IoU .5 {mean:.3f}" if isinstance(mean, float) else ""
    row = row.resolve_scale(color="independent", strokeDash="independent")
    return picture(row, f"{folder.name}: precision and recall{suffix}")


def _precision(folder: Path) -> AnyChart:
    path = folder / "pr_curves.csv"
    columns = read_numbers(path, "recall", "precision")
    if "class" not in columns:
        raise InputError(f"{path}: has no column 'class'; dvc repro {folder.name}")
    curves = pd.DataFrame({**columns, "class": columns["class"].astype(str)})
    scores = read_metrics(folder).get("class_AP50")
    scores = scores if isinstance(scores, dict) else {}
    own = class_looks(dict.fromkeys(curves["class"]))  # the table has all classes, in the order of their labels
    # A class without gt boxes has no curve, and its row of zeros would look like a failure.
    curves = curves[[scores.get(name, 0.0) is not None for name in curves["class"]]]
    judged = list(dict.fromkeys(curves["class"]))
    if len(judged) <= _MOST_NAMED_CLASSES:
        # Before the name, which a legend cuts where it is long.
        labels = {name: (f"AP {scores[name]:.2f} " if name in scores else "") + name for name in judged}
        table, styles = curves.assign(series=curves["class"].map(labels)), {labels[name]: own[name] for name in judged}
        return unit_chart(table, "recall", "precision", "Detections, IoU .5", styles=styles)
    mean = curves.groupby("recall", as_index=False)["precision"].mean()
    every = alt.Chart(curves).mark_line(color="#bfbfbf", strokeWidth=0.8).encode(x="recall:Q", y="precision:Q")
    named = unit_chart(
        mean.assign(series=f"mean of {len(judged)} classes"), "recall", "precision", "Detections, IoU .5"
    )
    return alt.layer(every.encode(detail="class:N"), named)


def unit_chart(
    table: pd.DataFrame,
    x: str,
    y: str,
    title: str,
    *,
    x_title: str = "",
    log: bool = False,
    styles: Mapping[str, Look] | None = None,
) -> alt.Chart:
    """One line a `series` of the table, of values in 0..1."""
    chart = lines(
        table, x, y, "series", x_title=x_title or x, y_title=y if y == "precision" else "recall of gt boxes",
        log_x=log, points=log, styles=styles, legend=_LEGEND,
    )  # fmt: skip
    return chart.properties(title=title)
