"""ResNet trunks (He et al. 2016): a stem, then four stages of residual blocks, each of which halves the maps.

Batch norm is frozen throughout, as detectors have it: an iteration sees too few images for statistics of its own.

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.backbones import ResNetShape
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm, conv_norm
from pipeline.nn.backbones.trunk import Maps, Trunk, padded
from pipeline.nn.necks.build import build_neck

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""torchvision's names of res2 to res5."""


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or as a bottleneck 1x1, 3x3 and 1x1, and the maps that came in added.

    Args:
        channels_in, channels_out: D before and after.
        stride: 1 or 2.
        settings: where a bottleneck has its stride, and the norms' epsilon.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, bottleneck: bool, settings: TrunkSettings
    ) -> None:
        super().__init__()
        width = channels_out // 4 if bottleneck else channels_out
        in_first = stride if settings.stride_in_1x1 or not bottleneck else 1
        sides = (1, 3, 1) if bottleneck else (3, 3)
        strides = (in_first, stride // in_first, 1) if bottleneck else (stride, 1)
        depths = (channels_in, *[width] * (len(sides) - 1), channels_out)
        self.depth = len(sides)
        for index, (side, step) in enumerate(zip(sides, strides, strict=True)):
            layer = nn.Conv2d(depths[index], depths[index + 1], side, step, side // 2, bias=False)
            self.add_module(f"conv{index + 1}", layer)
            self.add_module(f"bn{index + 1}", FrozenBatchNorm(depths[index + 1], settings.norm_epsilon))
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                FrozenBatchNorm(channels_out, settings.norm_epsilon),
            )

    def layer(self, index: int) -> tuple[nn.Conv2d, FrozenBatchNorm]:
        """A convolution and its norm, counted from 1."""
        return cast(nn.Conv2d, getattr(self, f"conv{index}")), cast(FrozenBatchNorm, getattr(self, f"bn{index}"))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, Fh, Fw) maps to those of the block's depth and stride."""
        out = maps
        for index in range(1, self.depth):
            out = conv_norm(*self.layer(index), out, relu=True)
        if self.downsample:
            maps = conv_norm(*cast(tuple[nn.Conv2d, FrozenBatchNorm], tuple(self.downsample)), maps, relu=False)
        return conv_norm(*self.layer(self.depth), out, relu=True, onto=maps)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)


def residual_stage(shape: ResNetShape, stage: int, settings: TrunkSettings) -> nn.Sequential:
    """The blocks of a stage, 0 for res2 to 3 for res5, without weights; all but res2 halve the maps."""
    before = shape.channels(stage - 1) if stage else 64
    after, count = shape.channels(stage), shape.blocks[stage]
    stride = 2 if stage else 1
    blocks = [
        Block(after if index else before, after, 1 if index else stride, shape.bottleneck, settings)
        for index in range(count)
    ]
    return nn.Sequential(*blocks)


def initialise_stage(blocks: nn.Sequential, generator: torch.Generator) -> None:
    """Draw fresh weights of a stage.

    The last norm of each block is scaled down, so that maps do not grow from block to block, which norms that are
    frozen would not correct.
    """
    for block in cast(list[Block], list(blocks)):
        block.initialise(generator)
        nn.init.constant_(block.layer(block.depth)[1].weight, len(blocks) ** -0.5)


class ResNetTrunk(Trunk):
    """A ResNet. Without a neck up to res4 (C4), as res5 belongs to the RoI head; with one up to res5, C2 to C5.

    `layers` are named as torchvision's `resnet18` to `resnet101`. Its stages are conv1 to conv5: the stem with its
    pooling, then res2 to res5.

    Args:
        shape: of `RESNETS`.
        settings: 2 frozen stages in detectron2 and torchvision (the stem and res2).
    """

    layers: nn.ModuleDict

    def __init__(self, shape: ResNetShape, settings: TrunkSettings) -> None:
        own = shape.layout(settings)
        super().__init__(own, build_neck(settings.neck, own) if settings.neck else None)
        stages = 4 if settings.neck else 3
        self.layers = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(3, 64, 7, 2, 3, bias=False),
                "bn1": FrozenBatchNorm(64, settings.norm_epsilon),
                **{name: residual_stage(shape, index, settings) for index, name in enumerate(STAGES[:stages])},
            }
        )
        self.published_head = {} if settings.neck else {"layer4.": "res5."}
        self._stages = stages
        self._frozen_stages = min(settings.frozen_stages, 1 + stages)
        for name in ("conv1", *STAGES)[: self._frozen_stages]:
            self.layers[name].requires_grad_(False)

    @property
    def frozen_levels(self) -> int:  # type: ignore[override]
        """How many maps `frozen` gives: where a neck sees every stage, those of the frozen ones."""
        return max(self._frozen_stages - 1, 1) if self.neck else 1

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal."""
        conv1 = cast(nn.Conv2d, self.layers["conv1"])
        nn.init.kaiming_normal_(conv1.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        for name in STAGES[: self._stages]:
            initialise_stage(cast(nn.Sequential, self.layers[name]), generator)

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images through the frozen stages: the map of each that a neck sees, or the last's."""
        maps = padded(images, self.layout)
        if not self._frozen_stages:
            return (maps,)
        with torch.no_grad():
            return self._run((self._stem(maps),), range(self._frozen_stages - 1))

    def rest(self, maps: Maps) -> Maps:
        """The output of `frozen` through the other stages."""
        if not self._frozen_stages:
            maps = (self._stem(*maps),)
        return self._run(maps, range(max(self._frozen_stages - 1, 0), self._stages))

    def _stem(self, images: Tensor) -> Tensor:
        stem = conv_norm(
            *cast(tuple[nn.Conv2d, FrozenBatchNorm], (self.layers["conv1"], self.layers["bn1"])), images, relu=True
        )
        return functional.max_pool2d(stem, 3, 2, 1)

    def _run(self, maps: Maps, stages: range) -> Maps:
        """The stages on the last of the maps. Where there is a neck the maps of all stages are kept, else the last."""
        for stage in stages:
            made = self.layers[STAGES[stage]](maps[-1])
            # The stem's map is not a level.
            maps = (*maps, made) if self.neck and stage else (made,)
        return maps
