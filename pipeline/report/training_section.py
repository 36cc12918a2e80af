"""Loss curves of every training stage."""

from __future__ import annotations

import pandas as pd

from pipeline.families.registry import present_family
from pipeline.report.page import Chart, PageSection, Part, Row, Text
from pipeline.report.run import Run
from pipeline.runtime.errors import InputError
from pipeline.views import charts
from pipeline.views.csv_columns import read_numbers

_NAMES = {
    "rpn_objectness": "objectness (object or not, of anchors)",
    "rpn_box": "anchor deltas",
    "roi_class": "class of RoIs",
    "roi_box": "RoI deltas",
}
_LEAD = (
    "Each loss should fall, fast at first. One that stays where it began means a learning rate too low, or targets "
    "that nothing can fit; one that jumps, a rate too high. Box losses count fg anchors and fg RoIs only. In steps "
    "3 and 4 the trunk rests, so that an iteration takes a fraction of the time."
)


def training_section(run: Run) -> PageSection:
    """A chart a stage that has run."""
    figures: list[Part] = []
    for stage, title in present_family(run.root).training.items():
        if not run.has(stage):
            figures.append(Text(f"{title}: not trained yet; dvc repro {stage}", missing=True))
            continue
        try:
            columns = read_numbers(run.folder(stage) / "history.csv", "iteration", "loss")
        except InputError as error:
            figures.append(Text(str(error), missing=True))
            continue
        parts = [name for name in columns if name in _NAMES]
        table = pd.concat(
            [pd.DataFrame({"iteration": columns["iteration"], "value": columns[p], "loss": _NAMES[p]}) for p in parts]
        )
        time = run.times.get(stage)
        took = f" {time.seconds:,.0f} s." if time else ""
        spec = charts.curves(
            table, "iteration", "value", "loss", x_title="iteration", y_title="loss", unit_y=False, small=True
        )
        figures.append(Chart(spec, f"{title}.{took}"))
    return PageSection("training", "Training", _LEAD, [Row(figures)])
