"""What later stages require of the data set, checked before anything runs by their own code."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.artifacts.image_views import views_of
from pipeline.datasets.faults import Faults
from pipeline.datasets.resizing import scales_of
from pipeline.feeding.enough import check_enough
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule
from pipeline.preflight.collecting import Checked
from pipeline.preflight.family_checks import family_checks
from pipeline.runtime.errors import InputError


def unmet(checked: Checked, params: Params) -> list[str]:
    """Why a stage of training or evaluation would refuse a data set that the dataset stage passes; empty where none."""
    faults, own = Faults(keep=True), family_checks(params)
    for stage, schedule in _schedules(params):
        if not checked.images["train"]:
            break  # the dataset stage says so
        with faults.going_on():
            images = own.training_images(checked, params, stage)
            check_enough(images * views_of_image(params), schedule.images_per_iteration, stage)
    judged = params.evaluate.split
    if judged == "val" and not checked.images[judged]:
        with faults.going_on():
            raise InputError(f"evaluate.split is {judged}, and the data set has no {judged} images; change either")
    return faults.lines


def without_remedy(checked: Checked, params: Params) -> list[str]:
    """The same of what no number of images an iteration mends."""
    faults = Faults(keep=True)
    with faults.going_on():
        family_checks(params).trainable(checked, params)
    return faults.lines


def views_of_image(params: Params) -> int:
    """At how many scales, mirrored or not, a training image is seen."""
    return len(views_of(len(scales_of(params.resize)), params.base.mirror))


def _schedules(params: Params) -> Iterator[tuple[str, Schedule]]:
    for name, section in params.sections().items():
        if isinstance(section, Schedule):
            yield name, section
