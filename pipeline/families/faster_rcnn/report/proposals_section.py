"""How good the proposals are: recall against their number, and against IoU."""

from __future__ import annotations

import pandas as pd

from pipeline.report.page import Chart, PageSection, Row, Text
from pipeline.report.run import Run
from pipeline.views import charts
from pipeline.views.colours import DASHES, Look, title_looks
from pipeline.views.csv_columns import read_numbers

_LEAD = (
    "The RPN must put a proposal on every object, since the head only finds what is proposed. Recall is the share of "
    "gt boxes that some proposal reaches: at IoU .5 it should come near 1 with a few hundred of them. If it falls "
    "at a low IoU already, proposals are there but do not fit the objects closely."
)


def proposals_section(run: Run) -> PageSection:
    """Recall against the number of proposals, and against IoU."""
    networks = run.networks()
    if not networks:
        return PageSection("proposals", "Proposals", _LEAD, [Text("Nothing is evaluated yet.", missing=True)])
    by_number, by_iou, of_number = [], [], {}
    looks = title_looks(run.family)
    for name, title in networks.items():
        folder = run.folder(f"evaluate_{name}")
        counted = read_numbers(folder / "recall_by_proposals.csv", "proposals", "recall50", "recall70")
        for column, iou, dash in (("recall50", ".5", DASHES[0]), ("recall70", ".7", DASHES[2])):
            of_number[f"{title}, IoU {iou}"] = Look(looks[title].colour, dash)
            own = pd.DataFrame({"proposals": counted["proposals"], "recall": counted[column]})
            by_number.append(own.assign(series=f"{title}, IoU {iou}"))
        levels = read_numbers(folder / "recall_by_iou.csv", "iou", "recall_of_300")
        by_iou.append(pd.DataFrame({"iou": levels["iou"], "recall": levels["recall_of_300"], "series": title}))
    against_number = charts.curves(
        pd.concat(by_number),
        "proposals",
        "recall",
        "series",
        x_title="proposals per image",
        y_title="recall",
        log_x=True,
        small=True,
        points=True,
        styles=of_number,
    )
    against_iou = charts.curves(
        pd.concat(by_iou),
        "iou",
        "recall",
        "series",
        x_title="IoU",
        y_title="recall of 300 proposals",
        small=True,
        styles=looks,
    )
    parts = [
        Chart(against_number, "Recall against the number of proposals."),
        Chart(against_iou, "Recall of 300 proposals against IoU."),
    ]
    return PageSection("proposals", "Proposals", _LEAD, [Row(parts)])
