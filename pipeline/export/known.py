"""Refuses networks that a format cannot express; a similar export would silently detect something else."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.bundle.file import Bundle
from pipeline.geometry.trunk_settings import TIMM
from pipeline.runtime.errors import InputError

Value = str | type

ONNX_BACKBONES = ("vgg16", "tiny", "resnet18", "resnet34", "resnet50", "resnet101")
"""Backbones whose graph was compared with the network in images of many sizes, thinner than a stride too."""


def onnx_backbones(name: str) -> tuple[str, ...]:
    """The backbones that the format expresses, where `name` is the bundle's: a model of timm's is compared when it is
    written (`pipeline.export.traced_trunk`)."""
    return (*ONNX_BACKBONES, name) if name.startswith(TIMM) else ONNX_BACKBONES


ONNX_NECKS = ("none", "fpn", "fpn_p3_p7", "ssd300", "ssd512", "ssd_tiny", "simple_fpn")
"""Necks of the same, as `backbone.neck.name`; simple_fpn, which stands on models of timm's, is compared with them."""

RESIZE_RULES = ("shorter_side", "fixed")
"""Values of `resize.rule` that the files tell a user how to follow."""


def refuse_unknown(bundle: Bundle, form: str, asked: Sequence[tuple[str, Value, Sequence[Value]]]) -> None:
    """Check that a format can express the bundle's network.

    Args:
        form: the format's name.
        asked: what is asked of the network (a parameter's name or a part of it), its value or class, and those that the
            format expresses.

    Raises:
        InputError: naming the first that it does not.
    """
    for what, own, known in asked:
        if own not in known:
            raise InputError(
                f"{bundle.folder}: {what} is {_name(own)}, which --format {form} does not export (it does "
                f"{', '.join(map(_name, known))}); use the bundle itself with pipeline.bundle.Detector or frcnn "
                f"predict, or write this export in pipeline/families/{bundle.settings.family}/export.py"
            )


def _name(own: Value) -> str:
    return own if isinstance(own, str) else own.__name__
