"""Whether there are images with gt boxes, and anchors, enough to train an RPN; no torch, so that a check may ask
first."""

from __future__ import annotations

from pipeline.runtime.errors import InputError


def check_enough_with_gt(left: int, total: int, views: int, batch: int, stage: str) -> None:
    """The same check for `rpn.images_without_gt: drop`.

    Args:
        left, total: training images with a gt box, and all.
        views: those with a gt box, and their mirrors.
        batch: `images_per_iteration` of `stage`.

    Raises:
        InputError: none is left, or too few for an iteration.
    """
    if not views:
        raise InputError(
            f"none of {total} training images has a gt box to train on, and rpn.images_without_gt is drop; "
            "label some, or set it to background"
        )
    if left < total and views < batch:
        raise InputError(
            f"{left} of {total} training images have a gt box to train on, rpn.images_without_gt drops the others, and "
            f"{stage}.images_per_iteration is {batch}; lower that, or set rpn.images_without_gt to background"
        )


def check_anchors(there: bool) -> None:
    """Whether some training image has an anchor that may be used, which is for the caller to find out.

    Raises:
        InputError: none has.
    """
    if not there:
        raise InputError(
            "no training image has an anchor that may be used; resize to larger images, lower anchors.scales, "
            "or set anchor_targets.allowed_border to null"
        )
