"""The picture of `frcnn check-data`: box sizes, ratios and classes, and how sizes suit the detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import pandas as pd

from pipeline.datasets.base import SPLITS
from pipeline.preflight.collecting import Checked
from pipeline.preflight.size_check import Panel
from pipeline.views.charts import AnyChart, count_bars, picture
from pipeline.views.encoding import Picture

_WIDTH, _HEIGHT = 400, 300
_MOST_CLASSES = 20


def data_picture(root: Path, checked: Checked, sizes: Sequence[Panel]) -> Picture:
    """Four panels as one PNG: three of sizes, and the classes as the third.

    Args:
        root: the data root, for the title.
        checked: what was read.
        sizes: the panels of a `SizeCheck`; where train has no box, only the classes are drawn.
    """
    count = len(checked.gt.of("train"))
    if not count:
        empty = alt.Chart(pd.DataFrame({"text": ["train has no box"]})).mark_text(fontSize=13).encode(text="text:N")
        sizes = [Panel(title, empty) for title in ("Sizes", "Ratios", "")]
    first, second, last = sizes
    classes = _classes(checked)
    shown = [first, second, Panel(classes.title, classes), last]
    panels: list[AnyChart] = [own.chart.properties(width=_WIDTH, height=_HEIGHT, title=own.title) for own in shown]
    rows = [
        alt.hconcat(*own).resolve_scale(color="independent", shape="independent") for own in (panels[:2], panels[2:])
    ]
    title = f"{root.resolve().name}: {count} boxes of train, px of the resized images"
    every = alt.vconcat(*rows).resolve_scale(color="independent", shape="independent").properties(title=title)
    return picture(every, f"{root.name}: box sizes and classes")


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
