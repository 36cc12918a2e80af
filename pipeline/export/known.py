"""What each format of `frcnn export` can express. All else is refused: exported as its nearest kin it would detect
something else without a word."""

from __future__ import annotations

from pipeline.bundle.file import Bundle
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.backbones.build import BACKBONES
from pipeline.runtime.errors import InputError

FORMATS = ("torchvision", "onnx")

_POOLINGS = ("roi_pool", "roi_align")
_RESIZE_RULES = ("shorter_side", "fixed")
# Backbones whose graph was compared with the network in images of many sizes, thinner than a stride too. The file for
# torchvision is read by this project, with any of its backbones.
_ONNX_BACKBONES = ("vgg16", "tiny")


def refuse_unknown(bundle: Bundle, form: str) -> None:
    """See that a format can express the bundle's network.

    Args:
        form: one of `FORMATS`.

    Raises:
        InputError: its RoI pooling, backbone, number of levels, way of resizing or one of its heads is unknown to the
            format.
    """
    params = bundle.settings.params
    trunk, rpn, head = bundle.parts
    if form == "torchvision" and len(trunk.layout.levels) > 1:
        raise InputError(
            f"{bundle.folder}: {params.backbone.name} has maps of several levels, which --format torchvision does not "
            "export; give --format onnx"
        )
    backbones = _ONNX_BACKBONES if form == "onnx" else tuple(BACKBONES)
    asked: tuple[tuple[str, str | type, tuple[str | type, ...]], ...] = (
        ("roi_head.pool", params.roi_head.pool, _POOLINGS),
        ("backbone.name", params.backbone.name, backbones),
        ("resize.rule", params.resize.rule, _RESIZE_RULES),
        ("the RPN", type(rpn), (RPNHead,)),
        ("the RoI head", type(head), (RoIHead,)),
    )
    for what, own, known in asked:
        if own not in known:
            raise InputError(
                f"{bundle.folder}: {what} is {_name(own)}, which --format {form} does not export (it does "
                f"{', '.join(map(_name, known))}); use the bundle itself with pipeline.bundle.Detector or frcnn "
                "predict, or write this export in pipeline/export/"
            )


def _name(own: str | type) -> str:
    return own if isinstance(own, str) else own.__name__
