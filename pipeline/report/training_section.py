"""Loss curves of every training stage."""

from __future__ import annotations

import pandas as pd

from pipeline.report.family_report import family_report
from pipeline.report.page import Chart, PageSection, Part, Row, Text
from pipeline.report.run import Run
from pipeline.runtime.errors import InputError
from pipeline.views import charts
from pipeline.views.colours import loss_looks
from pipeline.views.csv_columns import read_numbers

_LEAD = (
    "Each loss should fall, fast at first. One that stays where it began means a learning rate too low, or targets "
    "that nothing can fit; one that jumps, a rate too high."
)


def training_section(run: Run) -> PageSection:
    """One chart per stage that has run."""
    own = family_report(run)
    figures: list[Part] = []
    for stage, title in run.family.training.items():
        if not run.has(stage):
            figures.append(Text(f"{title}: not trained yet; dvc repro {stage}", missing=True))
            continue
        try:
            columns = read_numbers(run.folder(stage) / "history.csv", "iteration", "loss")
        except InputError as error:
            figures.append(Text(str(error), missing=True))
            continue
        losses = [name for name in columns if name not in ("iteration", "lr", "loss")] or ["loss"]
        titles = {name: own.losses.get(name, name) for name in losses}
        styles = {titles[name]: look for name, look in loss_looks(losses, list(own.losses)).items()}
        table = pd.concat(
            [
                pd.DataFrame({"iteration": columns["iteration"], "value": columns[name], "loss": titles[name]})
                for name in losses
            ]
        )
        time = run.times.get(stage)
        took = f" {time.seconds:,.0f} s." if time else ""
        spec = charts.curves(
            table,
            "iteration",
            "value",
            "loss",
            x_title="iteration",
            y_title="loss",
            unit_y=False,
            small=True,
            styles=styles,
        )
        figures.append(Chart(spec, f"{title}.{took}"))
    return PageSection("training", "Training", own.lead("training", _LEAD), [Row(figures)])
