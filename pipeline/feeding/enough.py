"""Whether there are images enough for an iteration of a training stage; no torch, so that a check may ask first."""

from __future__ import annotations

from pipeline.runtime.errors import InputError


def check_enough(views: int, batch: int, stage: str) -> None:
    """Whether an iteration of `batch` views can be made of so many, an image and its mirror being two, at each scale.

    Raises:
        InputError: it cannot.
    """
    if views < batch:
        raise InputError(f"{views} training images are fewer than {stage}.images_per_iteration {batch}; lower it")
