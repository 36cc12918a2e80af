"""The head: what is at each location, how far the edges of its box are, and how central the location lies in it.

Its weights have the names of torchvision's FCOSHead.

Shapes: B images; N locations of an image, of all levels; D channels; Fh, Fw feature map height, width; C classes,
background included.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.dense.head import DenseHead, Outputs
from pipeline.families.fcos.locations import locations
from pipeline.families.fcos.params import GROUPS
from pipeline.geometry.layout import MapLayout
from pipeline.nn.backbones.trunk import Maps
from pipeline.nn.convolution import conv3x3
from pipeline.nn.points import in_one_row
from pipeline.params.reading import Params

_LARGEST = math.log(1e5)
"""The largest log of a distance, px; no image has larger distances."""


class Branch(nn.Module):
    """3x3 convolutions, each with its norm and ReLU, and one output convolution per output.

    Args:
        channels_in: of the maps. outputs: how many channels each has, by name.
    """

    def __init__(self, channels_in: int, channels: int, depth: int, norm: str, outputs: dict[str, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (channels_in, *[channels] * (depth - 1)):
            own = nn.GroupNorm(GROUPS, channels) if norm == "group" else nn.Identity()
            layers += [nn.Conv2d(width, channels, 3, padding=1), own, nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)
        self._outputs = tuple(outputs)
        for name, count in outputs.items():
            self.add_module(name, nn.Conv2d(channels, count, 3, padding=1))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
                nn.init.zeros_(cast(Tensor, module.bias))
            elif isinstance(module, nn.GroupNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        """(B, D, Fh, Fw) maps of a level to its outputs by name."""
        convs, norms = self.conv[0::3], self.conv[1::3]
        for conv, norm in zip(convs, norms, strict=True):
            maps = conv3x3(cast(nn.Conv2d, conv), maps, relu=isinstance(norm, nn.Identity))
            if isinstance(norm, nn.GroupNorm):
                # Not by the layer, which refuses a map of one cell whose groups are of one channel.
                maps = torch.group_norm(maps, norm.num_groups, norm.weight, norm.bias, norm.eps).relu_()
        return {name: conv3x3(cast(nn.Conv2d, getattr(self, name)), maps) for name in self._outputs}


class FcosHead(DenseHead):
    """Two branches on every level with the same weights: one for classes, one for edges; one of both for
    centre-ness."""

    class_layers = MappingProxyType({"classification_head.cls_logits": 1})

    def __init__(self, trunk: MapLayout, num_classes: int, params: Params) -> None:
        super().__init__(locations(trunk, params))
        own = params.fcos
        on_box = own.centreness_on == "box"
        shape = (trunk.channels, own.channels, own.depth, own.norm)
        centreness = {"bbox_ctrness": 1}
        self.classification_head = Branch(*shape, {"cls_logits": num_classes - 1} | ({} if on_box else centreness))
        self.regression_head = Branch(*shape, {"bbox_reg": 4} | (centreness if on_box else {}))
        if own.regression != "relu":
            self.scales = nn.Parameter(torch.ones(len(trunk.levels)))
        self._regression, self._prior = own.regression, own.prior

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: a normal distribution of .01, and a bias by which every class has the prior
        probability."""
        for branch in (self.classification_head, self.regression_head):
            branch.initialise(generator)
        logits = cast(nn.Conv2d, self.classification_head.cls_logits)
        nn.init.constant_(cast(Tensor, logits.bias), -math.log(1 / self._prior - 1))
        if self._regression != "relu":
            nn.init.ones_(self.scales)

    def forward(self, maps: Maps) -> Outputs:
        """The map of each level to `classes` (B, N, C - 1), logits, `edges` (B, N, 4), the distances to the left, top,
        right and bottom edge, px, and `centreness` (B, N), logits."""
        classes, edges, centreness = [], [], []
        for level, own in enumerate(maps):
            found = {**self.classification_head(own), **self.regression_head(own)}
            classes.append(found["cls_logits"])
            edges.append(self._distances(found["bbox_reg"].float(), level))
            centreness.append(found["bbox_ctrness"])
        per_cell = self.locations.per_cell
        return {
            "classes": in_one_row(classes, per_cell),
            "edges": in_one_row(edges, per_cell),
            "centreness": in_one_row(centreness, per_cell).squeeze(2),
        }

    def _distances(self, said: Tensor, level: int) -> Tensor:
        """Distances, px, from the convolution's output for a level."""
        scaled = said if self._regression == "relu" else said * self.scales[level]
        if self._regression == "exp":
            return scaled.clamp(max=_LARGEST).exp()
        return scaled.relu() * self.locations.layout.strides[level]


def build_head(trunk: MapLayout, num_classes: int, params: Params) -> FcosHead:
    """A head without weights."""
    return FcosHead(trunk, num_classes, params)
