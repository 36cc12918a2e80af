"""Checks of the section `augment`, separate from its model, so that stages depend only on the model."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.params.augment import augmentation
from pipeline.params.base import Base
from pipeline.params.reading import Params
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Section


def check_drawn(sections: Mapping[str, Section]) -> str | None:
    """What is wrong between drawn views and the other views of an image, as a check of a family has it."""
    if augmentation(Params(sections)) is None:
        return None
    base, resize = sections["base"], sections["resize"]
    assert isinstance(base, Base) and isinstance(resize, ResizeParams)
    if base.mirror:
        return (
            "base.mirror doubles the training images, and augment draws each of them anew in each epoch; set "
            "base.mirror to false, and augment.flip to how often an image is mirrored"
        )
    if resize.extra_sides:
        return (
            f"resize.extra_sides {resize.extra_sides} are views of their own, and augment draws the scale in each "
            "epoch; empty them"
        )
    return None
