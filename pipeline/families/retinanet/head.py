"""The head: two towers of convolutions, one for the classes and one for the boxes, with the same weights on every level
(RetinaNet, section 4). Named as torchvision's RetinaNetHead, which has one class more, the background.

Shapes: B images; N locations of an image, of all levels, which are its anchors; A anchors of a cell; C classes,
background included; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.building.layout import one_depth
from pipeline.dense.head import DenseHead, Outputs
from pipeline.families.retinanet.locations import locations
from pipeline.families.retinanet.params import GROUPS, RetinaNetParams
from pipeline.geometry.layout import MapLayout
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.convolution import conv3x3
from pipeline.nn.points import in_one_row
from pipeline.params.reading import Params

FIRST_NORMALISER = 100.0
"""What a running normaliser starts from, anchors; detectron2's."""


class RetinaNetHead(DenseHead):
    """Both towers, and the running normaliser if there is one.

    Args:
        trunk: the levels, all of one depth. num_classes: C.
    """

    normaliser: Tensor
    """() float32, the mean number of fg anchors of a batch so far; with `normaliser: ema` alone. It is part of the
    weights, so that a resumed training has it."""

    def __init__(self, trunk: MapLayout, num_classes: int, params: Params) -> None:
        super().__init__(locations(trunk, params))
        own, depth, (anchors, *_) = params.retinanet, one_depth(trunk, "RetinaNet head"), self.locations.per_cell
        self.classification_head = _Tower(depth, own, "cls_logits", anchors * (num_classes - 1))
        self.regression_head = _Tower(depth, own, "bbox_reg", anchors * 4)
        self.class_layers = {"classification_head.cls_logits": anchors}
        self._prior = own.prior
        if own.normaliser == "ema":
            self.register_buffer("normaliser", torch.tensor(FIRST_NORMALISER))
            self.training_state = ("normaliser",)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights; every class of every anchor has the probability `prior`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        bias = cast(nn.Conv2d, self.classification_head.cls_logits).bias
        nn.init.constant_(cast(Tensor, bias), -math.log((1 - self._prior) / self._prior))

    def forward(self, maps: Maps) -> Outputs:
        """The (B, D, Fh, Fw) map of each level to `class_logits` (B, N, C - 1) and `box_deltas` (B, N, 4), which move
        and scale the anchors (`pipeline.nn.boxes.decode`)."""
        per_cell = self.locations.per_cell
        return {
            "class_logits": in_one_row([self.classification_head(own) for own in maps], per_cell),
            "box_deltas": in_one_row([self.regression_head(own) for own in maps], per_cell),
        }


class _Tower(nn.Module):
    """3x3 convolutions, each with its norm and a ReLU, and an output convolution `last`."""

    def __init__(self, depth: int, params: RetinaNetParams, last: str, outputs: int) -> None:
        super().__init__()
        depths = (depth, *[params.channels] * params.depth)
        self.conv = nn.Sequential(*(_block(*pair, params.norm) for pair in itertools.pairwise(depths)))
        self.add_module(last, nn.Conv2d(depths[-1], outputs, 3, padding=1))
        self._last = last

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, Fh, Fw) to the outputs of each cell."""
        for block in self.conv:
            layer, *norm = cast(nn.Sequential, block)
            maps = conv3x3(cast(nn.Conv2d, layer), maps, relu=not norm)
            if norm:
                maps = _normalised(cast(nn.GroupNorm, norm[0]), maps).relu()
        return conv3x3(cast(nn.Conv2d, getattr(self, self._last)), maps)


def _block(channels_in: int, channels_out: int, norm: str) -> nn.Sequential:
    layer = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=norm == "none")
    return nn.Sequential(layer) if norm == "none" else nn.Sequential(layer, nn.GroupNorm(GROUPS, channels_out))


def _normalised(norm: nn.GroupNorm, maps: Tensor) -> Tensor:
    # The module refuses groups of one value, of one channel in a map of one cell, which become the bias.
    return torch.group_norm(maps, norm.num_groups, norm.weight, norm.bias, norm.eps)


def build_head(trunk: MapLayout, num_classes: int, params: Params) -> RetinaNetHead:
    """A head without weights.

    Raises:
        InputError: the trunk's levels are of several depths.
    """
    return RetinaNetHead(trunk, num_classes, params)
