"""Parts that torchvision networks of several families share: a ResNet, anchors, image sizes.

Shapes: B images; K anchors of one image; D channels of the maps; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.building.anchors import anchor_grid
from pipeline.building.layout import map_layout
from pipeline.export.known import Value
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.trunk_settings import RESNET_NAMES
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.trunk import padded
from pipeline.params.anchors import AnchorParams

if TYPE_CHECKING:
    from pipeline.params.backbone import BackboneParams
    from pipeline.params.reading import Params
    from pipeline.params.resize import ResizeParams


def resnet_body(name: str, *, stride_in_1x1: bool, norm_epsilon: float) -> resnet.ResNet:
    """torchvision's ResNet with frozen batch norm, its weights to be loaded."""
    body: resnet.ResNet = getattr(resnet, name)(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=norm_epsilon))
    if stride_in_1x1:
        for stage in (body.layer2, body.layer3, body.layer4):
            if isinstance(stage[0], resnet.Bottleneck):
                stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return body


def resnet_asked(params: Params) -> Sequence[tuple[str, Value, Sequence[Value]]]:
    """The parameters that a network on `pyramid` requires."""
    own = params.backbone
    return [("backbone.name", own.name, RESNET_NAMES), ("backbone.neck.name", own.neck.name, ("fpn_p3_p7",))]


def pyramid(params: BackboneParams) -> BackboneWithFPN:
    """torchvision's ResNet with the levels P3 to P7, its weights to be loaded; it pads images as ours does."""
    body = resnet_body(params.name, stride_in_1x1=params.stride_in_1x1, norm_epsilon=params.norm_epsilon)
    depths, channels = [body.inplanes // 2**stage for stage in (2, 1, 0)], params.neck.channels
    backbone = BackboneWithFPN(
        body,
        {f"layer{stage}": str(stage - 2) for stage in (2, 3, 4)},
        depths,
        channels,
        extra_blocks=LastLevelP6P7(channels if params.neck.p6_from == "p5" else depths[-1], channels),
        norm_layer=FrozenBatchNorm2d if params.neck.norm == "batch" else None,
    )
    pad_as(backbone, map_layout(params))
    return backbone


def dense_options(params: Params, rule: Any, pixels: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that torchvision's dense classes on `pyramid` share.

    Args:
        rule: the section that detects. pixels: `image_mean` and `image_std`.
    """
    return {
        "score_thresh": rule.score_threshold,
        "nms_thresh": rule.nms_iou,
        "detections_per_img": rule.per_image,
        "topk_candidates": rule.per_level,
        "size_divisible": params.backbone.size_divisible,
        **pixels,
        **sizes_of(params.resize),
    }


def pad_as(backbone: nn.Module, layout: MapLayout) -> None:
    """Have a backbone pad its images as the layout says."""
    backbone.register_forward_pre_hook(lambda _, images: (padded(images[0], layout),))


def sizes_of(resize: ResizeParams) -> dict[str, object]:
    """The image sizes for a torchvision detector."""
    if resize.rule == "fixed":
        return {"fixed_size": (resize.fixed_width, resize.fixed_height)}
    return {"min_size": resize.shorter_side, "max_size": resize.longer_side}


class ExactAnchors(AnchorGenerator):
    """This project's anchors in place of torchvision's, whose rounded `cell_anchors` are not used.

    Args:
        params: base size, ratios and scales. layout: of the trunk's maps.
    """

    def __init__(self, params: AnchorParams, layout: MapLayout) -> None:
        sizes = tuple(tuple(params.base_size * scale * own for scale in params.scales) for own in layout.scales)
        super().__init__(sizes=sizes, aspect_ratios=(tuple(params.ratios),) * len(sizes))
        self._grid: AnchorGrid = anchor_grid(params, layout)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """For each of B images the (K, 4) float32 anchors of the (B, D, Fh, Fw) map of each level."""
        anchors = self._grid([(maps.shape[2], maps.shape[3]) for maps in feature_maps])
        return [anchors.to(feature_maps[0].device)] * len(image_list.image_sizes)
