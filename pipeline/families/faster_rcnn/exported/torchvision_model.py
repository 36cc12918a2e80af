"""From the trunk, the RPN and the RoI head to a torchvision FasterRCNN with equal detections.

What is not torchvision's: the trunk, which is this project's; the anchors, which lie as `anchors.placement` says; and
the RoI pooling, which is RoIPool or half-pixel aligned RoIAlign. What torchvision cannot express: the least
size of a proposal in pixels of the original image (`detect.min_size`), and a cut to the best candidates after boxes
without area are dropped (`detect.cut_first: false`). The exported network has no least size, and cuts first.

Shapes: B images; H, W image height, width; K anchors of one image; R RoIs of the batch; D channels of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead as TorchvisionRPNHead
from torchvision.ops.misc import Conv2dNormActivation

from pipeline.artifacts.weights import State, restore
from pipeline.building.anchors import anchor_grid
from pipeline.building.memory_format import channels_last
from pipeline.bundle.contract import BundleParams
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import BACKBONES, build_trunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.roi_pooling import pool_levels
from pipeline.params.anchors import AnchorParams
from pipeline.params.reading import Params
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Count, Fraction, Natural, PreNms, Section
from pipeline.runtime.errors import InputError

_ALL = 2**31 - 1


class ExportSettings(Section):
    """What rebuilds an exported network around its weights.

    `classes` are the names of the labels, the background first; the rest are parameters under their names in
    params.yaml.
    """

    format: Literal["frcnn-torchvision-1"]
    family: Literal["faster_rcnn"] = "faster_rcnn"
    network: str
    classes: Annotated[list[str], Field(min_length=2)]
    backbone: str
    ceil_pool: bool
    resize: ResizeParams
    anchors: AnchorParams
    rpn_channels: Count
    rpn_depth: Count = 1
    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    samples: Natural = 2
    aligned: bool = True
    hidden: Count
    pre_nms: PreNms
    proposal_nms_iou: Fraction
    proposals: Count
    score_threshold: Fraction
    nms_iou: Fraction
    per_image: Count

    @property
    def pooling(self) -> Pooling:
        """How RoIs are pooled."""
        return Pooling(self.pool, self.output_size, self.samples, self.aligned)


class ExactAnchors(AnchorGenerator):
    """This project's anchors where torchvision's are asked for; its own rounded `cell_anchors` are not used.

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


class RoIPooling(nn.Module):
    """This project's RoIPool or RoIAlign where torchvision's `MultiScaleRoIAlign` is asked for.

    Args:
        pooling: how. layout: of the trunk's maps.
    """

    def __init__(self, pooling: Pooling, layout: MapLayout) -> None:
        super().__init__()
        self._pooling, self._layout = pooling, layout

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], image_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """The (R_b, 4) boxes of each image, in pixels, to (R, D, output_size, output_size); shapes are not needed."""
        return pool_levels(list(features.values()), boxes, self._layout, self._pooling)


def _by_name(trunk: nn.Module, images: tuple[Tensor], maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The maps of each level as torchvision's networks take them from a backbone."""
    return {str(level): own for level, own in enumerate(maps)}


def settings_of(params: Params | BundleParams, network: str, classes: Sequence[str]) -> ExportSettings:
    """The settings of a network trained with `params`; `classes` with the background first."""
    return ExportSettings.model_validate(
        {
            "format": "frcnn-torchvision-1",
            "network": network,
            "classes": list(classes),
            "backbone": params.backbone.name,
            "ceil_pool": params.backbone.ceil_pool,
            "resize": params.resize,
            "anchors": params.anchors,
            "rpn_channels": params.rpn.channels,
            "rpn_depth": params.rpn.depth,
            **params.roi_head.model_dump(include={"pool", "output_size", "samples", "aligned", "hidden"}),
            **params.detect.model_dump(exclude={"min_size", "cut_first", "recall_ranks"}),
        }
    )


def torchvision_state(trunk: Trunk, rpn: RPNHead, head: RoIHead) -> State:
    """The weights of the three parts under torchvision's names: contiguous, detached, on the CPU.

    The two-class softmax of the RPN becomes its one logit, fg minus bg. The normalisation of the RoI head's deltas goes
    into bbox_pred, so that torchvision's box coder needs no weights.
    """
    proposes, classifies = rpn.state_dict(), head.state_dict()
    std, mean = (classifies[name].double().reshape(-1) for name in ("delta_std", "delta_mean"))
    for kind in ("weight", "bias"):
        # Theirs has a box for each class: where ours has one for all, the same.
        own = classifies[f"bbox_pred.{kind}"]
        classifies[f"bbox_pred.{kind}"] = own.repeat(len(std) // len(own), *[1] * (own.dim() - 1))
    state = {f"backbone.{name}": value for name, value in trunk.state_dict().items()}
    for kind in ("weight", "bias"):
        background, foreground = proposes[f"cls_score.{kind}"].chunk(2)
        for place, convolution in enumerate(rpn.convolutions):
            state[f"rpn.head.conv.{place}.0.{kind}"] = convolution.state_dict()[kind]
        state[f"rpn.head.cls_logits.{kind}"] = foreground - background
        state[f"rpn.head.bbox_pred.{kind}"] = proposes[f"bbox_pred.{kind}"]
        state[f"roi_heads.box_head.fc6.{kind}"] = classifies[f"fc6.{kind}"]
        state[f"roi_heads.box_head.fc7.{kind}"] = classifies[f"fc7.{kind}"]
        state[f"roi_heads.box_predictor.cls_score.{kind}"] = classifies[f"cls_score.{kind}"]
    bbox_pred = "roi_heads.box_predictor.bbox_pred"
    state[f"{bbox_pred}.weight"] = (classifies["bbox_pred.weight"].double() * std[:, None]).float()
    state[f"{bbox_pred}.bias"] = (classifies["bbox_pred.bias"].double() * std + mean).float()
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def build_torchvision(settings: ExportSettings, state: Mapping[str, Tensor], source: Path | str) -> FasterRCNN:
    """A torchvision FasterRCNN with these settings and weights, in evaluation mode.

    Args:
        state: as `torchvision_state` names it. source: what to name in errors.

    Raises:
        InputError: the backbone is unknown, or a weight is missing, unknown or of another shape.
    """
    if settings.backbone not in BACKBONES:
        raise InputError(f"{source}: backbone {settings.backbone!r} is unknown; there are {', '.join(BACKBONES)}")
    trunk = build_trunk(settings.backbone, frozen_stages=0, ceil_pool=settings.ceil_pool)
    layout = trunk.layout
    trunk.out_channels = layout.channels  # type: ignore[assignment]
    trunk.register_forward_hook(_by_name)
    anchors = ExactAnchors(settings.anchors, layout)
    model = FasterRCNN(
        trunk,
        rpn_anchor_generator=anchors,
        rpn_head=_rpn_head(layout.channels, settings, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_test=settings.pre_nms if settings.pre_nms > 0 else _ALL,
        rpn_post_nms_top_n_test=settings.proposals,
        rpn_nms_thresh=settings.proposal_nms_iou,
        box_head=TwoMLPHead(layout.channels * settings.output_size**2, settings.hidden),
        box_predictor=FastRCNNPredictor(settings.hidden, len(settings.classes)),
        box_score_thresh=settings.score_threshold,
        box_nms_thresh=settings.nms_iou,
        box_detections_per_img=settings.per_image,
        bbox_reg_weights=(1.0, 1.0, 1.0, 1.0),
        size_divisible=1,
        **_sizes(settings.resize),
    )
    # The constructor takes no other pooling than MultiScaleRoIAlign.
    model.roi_heads.box_roi_pool = RoIPooling(settings.pooling, layout)
    restore(model, state, source)
    model.transform.image_mean, model.transform.image_std = trunk.pixel_mean.tolist(), trunk.pixel_std.tolist()
    for part in (model.backbone, model.rpn):
        channels_last(part)
    return model.eval()


def _rpn_head(in_channels: int, settings: ExportSettings, per_location: int) -> TorchvisionRPNHead:
    channels = settings.rpn_channels
    head = TorchvisionRPNHead(channels, per_location, conv_depth=settings.rpn_depth)
    # Theirs is as wide as the trunk.
    head.conv[0] = Conv2dNormActivation(in_channels, channels, kernel_size=3, norm_layer=None)
    return head


def _sizes(resize: ResizeParams) -> dict[str, object]:
    if resize.rule == "fixed":
        return {"fixed_size": (resize.fixed_width, resize.fixed_height)}
    return {"min_size": resize.shorter_side, "max_size": resize.longer_side}
