"""The table, and a page with it and charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from pipeline.compare.rows import Row
from pipeline.report.page import Chart, PageSection, Part, Table, Text, render
from pipeline.report.scripts import vega_script
from pipeline.views import charts
from pipeline.views.colours import Look, distinct

_FIGURES = {
    "mAP50": "mAP@.5",
    "AP": "AP",
    "AP75": "AP75",
    "APs": "AP small",
    "APm": "AP medium",
    "APl": "AP large",
    "AR100": "AR100",
}
_COSTS: dict[str, Callable[[Row], str]] = {
    "training": lambda row: "" if row.training_seconds is None else f"{row.training_seconds / 60:.1f} min",
    "detection": lambda row: "" if row.detection_seconds is None else f"{1000 * row.detection_seconds:.0f} ms/image",
    "weights": lambda row: "" if row.weights is None else f"{row.weights / 1e6:.2f} M",
    "memory": lambda row: "" if row.memory_mb is None else f"{row.memory_mb / 1000:.2f} GB",
}
_SIZES = {"APs": "small", "APm": "medium", "APl": "large"}
_MOST_CLASSES = 20
_LEAD = (
    "All are judged on the same images by the same rule. AP is COCO's; small, medium and large are gt boxes of an area "
    "below 32 x 32 px, up to 96 x 96 and above. Training is the time of all stages between the resized images and the "
    "weights, detection that of an image with the start of the stage, memory the most that one of the stages of the "
    "training held, all as when the stages last ran in the workspace."
)


def compare_table(rows: Sequence[Row]) -> Table:
    """One row per network."""
    header = ["detector", *_FIGURES.values(), *_COSTS]
    cells = [
        [row.name, *[_figure(row.metrics.get(key)) for key in _FIGURES], *[cost(row) for cost in _COSTS.values()]]
        for row in rows
    ]
    colours = {name: look.colour for name, look in _looks(rows).items()}
    return Table(header, cells, "l" + "r" * (len(header) - 1), colours)


def _looks(rows: Sequence[Row]) -> dict[str, Look]:
    return distinct({row.name: row.colour for row in rows})


def as_text(table: Table) -> str:
    """A table with aligned columns."""
    rows = [[str(cell) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=list(table.header)).set_index(table.header[0])
    frame.index.name = None
    return frame.to_string()


def compare_page(rows: Sequence[Row], notes: Sequence[str], root: Path) -> str:
    """The page's HTML."""
    parts: list[Part] = [compare_table(rows), *[Text(note) for note in notes]]
    sections = [PageSection("figures", "Figures and costs", _LEAD, parts)]
    styles = _looks(rows)
    sizes = [
        {"size": size, "detector": row.name, "AP": value}
        for key, size in _SIZES.items()
        for row in rows
        if isinstance(value := row.metrics.get(key), float | int) and value >= 0
    ]
    if sizes:
        chart = charts.grouped_bars(pd.DataFrame(sizes), "size", "AP", "detector", styles, title="AP")
        lead = "AP by the size of the gt boxes. A size that the images lack has no bar."
        sections.append(PageSection("sizes", "By size", lead, [Chart(chart)]))
    classes = [
        {"class": name, "detector": row.name, "AP": value}
        for row in rows
        for name, value in dict(row.metrics.get("class_AP50") or {}).items()
        if isinstance(value, float | int)
    ]
    if classes:
        frame = pd.DataFrame(classes)
        worst = list(frame.groupby("class")["AP"].mean().sort_values(kind="stable").index[:_MOST_CLASSES])
        frame["order"] = frame["class"].map({name: place for place, name in enumerate(worst)})
        few = frame.dropna(subset="order").sort_values("order", kind="stable")
        lead = "AP of each class at IoU .5, the worst class first." + (
            f" The worst {_MOST_CLASSES} of {frame['class'].nunique()}."
            if frame["class"].nunique() > len(worst)
            else ""
        )
        chart = charts.grouped_bars(few, "class", "AP", "detector", styles, title="AP at IoU .5")
        sections.append(PageSection("classes", "By class", lead, [Chart(chart)]))
    images = rows[0].metrics.get("images", "")
    subtitle = f"{images} images of {rows[0].rule[0]}"
    return render("Detectors compared", subtitle, datetime.now(), sections, vega_script(root))


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float | int) and value >= 0 else ""
