"""Charts of the recall of proposals, against their number and against IoU. Importing this imports Altair."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from pipeline.views.csv_columns import read_numbers
from pipeline.views.plots import unit_chart


def recall_by_number(folder: Path) -> alt.Chart:
    """Recall at IoU .5 and .7 against the number of proposals, of an evaluate stage's folder.

    Raises:
        InputError: a file is missing or damaged.
    """
    recall = read_numbers(folder / "recall_by_proposals.csv", "proposals", "recall50", "recall70")
    names = {"recall50": "IoU .5", "recall70": "IoU .7"}
    table = _long(recall, "proposals", names)
    return unit_chart(
        table, "proposals", "recall", "Proposals, by their number", x_title="best proposals per image", log=True
    )


def recall_by_iou(folder: Path) -> alt.Chart:
    """Recall of some numbers of proposals against IoU, of the same folder.

    Raises:
        InputError: as above.
    """
    recall = read_numbers(folder / "recall_by_iou.csv", "iou")
    names = {name: f"best {name.removeprefix('recall_of_')}" for name in recall if name.startswith("recall_of_")}
    return unit_chart(_long(recall, "iou", names), "iou", "recall", "Proposals, by IoU", x_title="IoU")


def _long(columns: dict[str, np.ndarray], x: str, names: dict[str, str]) -> pd.DataFrame:
    """Several columns below one another as recall, with the name of each as series."""
    parts = [pd.DataFrame({x: columns[x], "recall": columns[own], "series": label}) for own, label in names.items()]
    return pd.concat([pd.DataFrame({x: [], "recall": [], "series": []}), *parts])
