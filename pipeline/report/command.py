"""`frcnn report`: read the run, write the page."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.report.data_section import data_section
from pipeline.report.detections_section import detections_section, summary_section
from pipeline.report.family_report import OwnSection, family_report
from pipeline.report.journeys_section import journeys_section, training_images_section
from pipeline.report.page import PageSection, Text, render
from pipeline.report.run import Run
from pipeline.report.scripts import vega_script
from pipeline.report.stages_section import stages_section
from pipeline.report.training_section import training_section
from pipeline.runtime.errors import InputError

_BEFORE = (
    OwnSection("summary", "Results", summary_section),
    OwnSection("stages", "The graph", stages_section),
    OwnSection("data", "The data", data_section),
    OwnSection("training", "Training", training_section),
)
_AFTER = (
    OwnSection("detections", "Detections", detections_section),
    OwnSection("training-images", "Training images", training_images_section),
)


def write_report(root: Path, out: Path, images: int) -> str:
    """Write the page on the project in `root` to `out`, and return a line that names it.

    What has not been made yet, or cannot be read, is noted in its section.

    Args:
        images: how many of the judged images are followed through all stages.

    Raises:
        InputError: there is no project here, or the page cannot be written.
    """
    run = Run.read(root)
    if not out.parent.is_dir():  # before the page is made, which takes seconds
        raise InputError(f"--out {out}: cannot be written (its folder does not exist); choose another place")
    last = OwnSection("images", "Image by image", partial(journeys_section, count=images))
    sections = [_section(own, run) for own in (*_BEFORE, *family_report(run).sections, *_AFTER, last)]
    params = run.params
    subtitle = f"{params.dataset.reader} data, {params.backbone.name} trunk, seed {params.base.seed}"
    page = render(f"{run.family.title}: {root.resolve().name}", subtitle, datetime.now(), sections, vega_script(root))
    try:
        write_text(out, page)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return f"{out}: {len(page) / 1e6:.1f} MB, open it in a browser"


def _section(own: OwnSection, run: Run) -> PageSection:
    try:
        return own.make(run)
    except InputError as error:
        return PageSection(own.anchor, own.title, "", [Text(str(error), missing=True)])
