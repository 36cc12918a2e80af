"""How good the networks are: figures, precision and recall of each class, kinds of errors, confused classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.artifacts.own_figures import COUNTS
from pipeline.metrics.coco_ap import COCO_METRICS
from pipeline.report.family_report import family_report
from pipeline.report.page import Chart, PageSection, Part, Row, Table, Text
from pipeline.report.run import Run
from pipeline.runtime.errors import InputError
from pipeline.views import charts
from pipeline.views.colours import KINDS, class_looks, title_looks
from pipeline.views.csv_columns import read_csv
from pipeline.views.json_files import read_metrics

_FIGURES = {
    "mAP50": "VOC mAP at IoU .5",
    "AP": "COCO AP",
    "AP75": "AP at IoU .75",
    "AR100": "COCO AR, 100 detections",
}
_COMMON_KEYS = ("mAP50", "mAP50_11point", *COCO_METRICS[:9], *COUNTS)
_MOST_CLASSES = 20
_SUMMARY_LEAD = (
    "Results on the {split} images, on which nothing was trained. AP is the area under a class's curve of precision "
    "against recall, and mAP is its mean over the classes. A detection is correct if its IoU with a gt box of its "
    "class is at least .5; COCO's AP is the mean over thresholds from .5 to .95."
)
_ERRORS_LEAD = (
    "Errors of detections with a score of {score} or more. Missed boxes call for a lower threshold or more training, "
    "duplicates for a stricter NMS, badly placed boxes (IoU .1 to .5) for more training of the boxes, and wrong "
    "classes and detections on the background for more data or a higher threshold. In the confusion matrix, rows are "
    "actual classes and columns predicted ones; the diagonal is correct."
)


def summary_section(run: Run) -> PageSection:
    """The table of figures, and AP by class."""
    networks = run.networks()
    own = family_report(run)
    lead = own.lead("summary", _SUMMARY_LEAD.format(split=run.params.evaluate.split))
    if not networks:
        return PageSection("summary", "Results", lead, [Text("Nothing is evaluated yet; dvc repro", missing=True)])
    metrics = {name: read_metrics(run.folder(f"evaluate_{name}")) for name in networks}
    titles = {**_FIGURES, **own.figures, **_other_figures(metrics.values(), own.figures)}
    rows = [[networks[name], *[_figure(found.get(key)) for key in titles]] for name, found in metrics.items()]
    styles = title_looks(run.family)
    colours = {title: styles[title].colour for title in networks.values()}
    table = Table(["network", *titles.values()], rows, "l" + "r" * len(titles), colours)
    of_class: list[dict[str, Any]] = [
        {"class": label, "network": networks[name], "AP": value}
        for name, found in metrics.items()
        for label, value in _mapping(found.get("class_AP50")).items()
        if isinstance(value, float | int)
    ]
    if not of_class:
        return PageSection("summary", "Results", lead, [table])
    frame = pd.DataFrame(of_class)
    mean = frame.groupby("class")["AP"].mean().sort_values()
    frame["order"] = frame["class"].map({name: i for i, name in enumerate(mean.index)})
    few = frame[frame["order"] < _MOST_CLASSES].sort_values("order", kind="stable")
    caption = "AP of each class at IoU .5, the worst class first." + (
        f" The worst {_MOST_CLASSES} of {len(mean)}." if len(mean) > _MOST_CLASSES else ""
    )
    chart = Chart(charts.grouped_bars(few, "class", "AP", "network", styles, title="AP at IoU .5"), caption)
    return PageSection("summary", "Results", lead, [table, chart])


def _other_figures(metrics: Iterable[Mapping[str, object]], titled: Mapping[str, str]) -> dict[str, str]:
    """Figures that the family adds and that have no title: their keys, in words. One that does not exist is None."""
    known = {*_COMMON_KEYS, *titled}
    found = [(key, value) for own in metrics for key, value in own.items() if key not in known]
    keys = [key for key, value in found if value is None or isinstance(value, float | int)]
    return {key: key.replace("_", " ") for key in keys}


def detections_section(run: Run) -> PageSection:
    """Precision and recall of each class, and which errors there are."""
    networks = run.networks()
    lead = family_report(run).lead("detections", _ERRORS_LEAD.format(score=run.params.evaluate.confusion_score))
    if not networks:
        return PageSection("detections", "Detections", lead, [Text("Nothing is evaluated yet.", missing=True)])
    kinds = [
        {"network": title, "kind": kind, "count": count}
        for name, title in networks.items()
        for kind, count in _mapping(read_metrics(run.folder(f"evaluate_{name}")).get("errors")).items()
        if kind in KINDS
    ]
    parts: list[Part] = []
    if kinds:
        parts.append(Chart(charts.error_kinds(pd.DataFrame(kinds)), "Errors by kind."))
    parts.append(Row([_pr_chart(run, name, title) for name, title in networks.items()]))
    last = list(networks)[-1]
    parts.append(_confusion(run, last, networks[last]))
    return PageSection("detections", "Detections", lead, parts)


def _pr_chart(run: Run, name: str, title: str) -> Part:
    columns = read_csv(run.folder(f"evaluate_{name}") / "pr_curves.csv")
    frame = pd.DataFrame(columns)
    worst = frame.groupby("class")["precision"].mean().sort_values().index[:_MOST_CLASSES]
    few = frame[frame["class"].isin(worst)]
    styles = class_looks(dict.fromkeys(frame["class"]))  # the table has all classes, in the order of their labels
    spec = charts.curves(
        few, "recall", "precision", "class", x_title="recall", y_title="precision", small=True, styles=styles
    )
    more = f" The worst {_MOST_CLASSES} of {frame['class'].nunique()}." if len(worst) < frame["class"].nunique() else ""
    return Chart(spec, f"Precision against recall, {title}.{more} A click on the legend brings a class out.")


def _confusion(run: Run, name: str, title: str) -> Part:
    try:
        columns = read_csv(run.folder(f"evaluate_{name}") / "confusion.csv")
    except InputError:
        return Text("There is nothing to confuse: no gt box, and no detection.", missing=True)
    frame = pd.DataFrame({key: values.astype(str) for key, values in columns.items()})
    table = frame.groupby(["actual", "predicted"]).size().rename("count").reset_index()
    table["share"] = table["count"] / table.groupby("actual")["count"].transform("sum")
    mistaken = table[table["actual"] != table["predicted"]].groupby("actual")["count"].sum()
    named = [c for c in np.unique(table[["actual", "predicted"]].to_numpy()) if c != "background"]
    named = sorted(named, key=lambda c: -int(mistaken.get(c, 0)))[:_MOST_CLASSES]
    order = [*sorted(named), "background"]
    table = table[table["actual"].isin(order) & table["predicted"].isin(order)]
    return Chart(
        charts.confusion(table, order),
        f"Confusion, {title}. Background as actual: detected where nothing is; as predicted: missed.",
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _figure(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if isinstance(value, float) else "none"
