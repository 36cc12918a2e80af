"""What the stages after the data set ask of it, asked before anything runs, by their own code."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.artifacts.image_views import views_of
from pipeline.datasets.faults import Faults
from pipeline.datasets.resizing import scales_of
from pipeline.families.faster_rcnn.training.enough_for_rpn import check_anchors, check_enough_with_gt
from pipeline.feeding.enough import check_enough
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.anchorless import any_anchor
from pipeline.preflight.collecting import Checked
from pipeline.runtime.errors import InputError

_TRAIN_THE_RPN = ("train_rpn_step1", "train_rpn_step3", "finetune_joint")


def unmet(checked: Checked, params: Params) -> list[str]:
    """Why a stage of training or evaluation would refuse a data set that the dataset stage passes; empty where none."""
    faults = Faults(keep=True)
    for stage, schedule in _schedules(params):
        with faults.going_on():
            _check_training(checked, params, stage, schedule.images_per_iteration)
    judged = params.evaluate.split
    if judged == "val" and not checked.images[judged]:
        with faults.going_on():
            raise InputError(f"evaluate.split is {judged}, and the data set has no {judged} images; change either")
    return faults.lines


def without_remedy(checked: Checked, params: Params, placement: Placement) -> list[str]:
    """The same of what no number of images an iteration mends: train_rpn_step1 finds no anchor to learn from."""
    faults = Faults(keep=True)
    with faults.going_on():
        check_anchors(any_anchor(checked, params, placement))
    return faults.lines


def _schedules(params: Params) -> Iterator[tuple[str, Schedule]]:
    for name, section in params.sections().items():
        if isinstance(section, Schedule):
            yield name, section


def _check_training(checked: Checked, params: Params, stage: str, batch: int) -> None:
    views = len(views_of(len(scales_of(params.resize)), params.base.mirror))
    total = checked.images["train"]
    if total == 0:
        return  # the dataset stage says so
    if stage in _TRAIN_THE_RPN and params.rpn.images_without_gt == "drop":
        left = total - checked.without_objects["train"]
        check_enough_with_gt(left, total, left * views, batch, stage)
        total = left
    check_enough(total * views, batch, stage)
