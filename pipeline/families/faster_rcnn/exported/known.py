"""Which networks of Faster R-CNN each format can express."""

from __future__ import annotations

from pipeline.bundle.file import Bundle
from pipeline.export.known import ONNX_NECKS, RESIZE_RULES, Value, onnx_backbones
from pipeline.export.known import refuse_unknown as refuse
from pipeline.families.faster_rcnn.bundle import typed
from pipeline.families.faster_rcnn.nn.convs_head import ConvsHead
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.res5_head import Res5Head
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.backbones.build import BACKBONES

_POOLINGS = ("roi_pool", "roi_align")


def refuse_unknown(bundle: Bundle, form: str) -> None:
    """Check that a format can express the bundle's network.

    Args:
        form: torchvision or onnx.

    Raises:
        InputError: its RoI pooling, backbone, neck, way of resizing or one of its heads is unknown to the format.
    """
    params = bundle.settings.params
    _, rpn, head = typed(bundle.parts)
    # The file for torchvision is read by this project, with any of its backbones.
    backbones = onnx_backbones(params.backbone.name) if form == "onnx" else tuple(BACKBONES)
    necks = ONNX_NECKS if form == "onnx" else ("none", "fpn")
    asked: tuple[tuple[str, Value, tuple[Value, ...]], ...] = (
        ("roi_head.pool", params.roi_head.pool, _POOLINGS),
        ("backbone.name", params.backbone.name, backbones),
        ("backbone.neck.name", params.backbone.neck.name, necks),
        ("resize.rule", params.resize.rule, RESIZE_RULES),
        ("the RPN", type(rpn), (RPNHead,)),
        ("the RoI head", type(head), (FcHead, Res5Head, ConvsHead)),
    )
    refuse(bundle, form, asked)
