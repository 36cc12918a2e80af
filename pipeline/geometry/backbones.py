"""The layouts of the backbones by name, and the shapes of VGG's and ResNet's trunks that theirs follow from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.necks import NECKS
from pipeline.geometry.trunk_settings import FINEST_STRIDE, TrunkSettings


@dataclass(frozen=True)
class VGGShape:
    """Output channels of each convolution, block by block, and whether batch norm follows each."""

    blocks: tuple[tuple[int, ...], ...]
    batch_norm: bool

    def layout(self, settings: TrunkSettings) -> MapLayout:
        """One map, the last block's; with a neck the maps of the blocks that it reads. Each of the 2x2 poolings between
        blocks halves the map, rounding down, or up with `ceil_pool`."""
        levels = tuple(
            Level(2**block, self.blocks[block][-1], round_up=settings.ceil_pool) for block in self.kept(settings)
        )
        return MapLayout(levels, settings.size_divisible)

    def frozen_maps(self, settings: TrunkSettings) -> tuple[Level, ...]:
        """The maps that the frozen blocks give: those that a neck reads, and the last after its pooling, which other
        blocks start from. None where no block is frozen."""
        frozen = min(settings.frozen_stages, len(self.blocks))
        if not frozen:
            return ()
        whole = frozen == len(self.blocks)
        passed = [block for block in self.kept(settings) if block < frozen]
        levels = [Level(2**block, self.blocks[block][-1], round_up=settings.ceil_pool) for block in passed]
        # The pooling after the last of all belongs to no trunk.
        pooled = Level(2**frozen, self.blocks[frozen - 1][-1], round_up=settings.ceil_pool)
        return tuple(levels) if whole else (*levels, pooled)

    def kept(self, settings: TrunkSettings) -> range:
        """The blocks, counted from 0, whose maps leave the backbone."""
        last = len(self.blocks) - 1
        if settings.neck is None:
            return range(last, last + 1)
        return range(FINEST_STRIDE[settings.neck.name].bit_length() - 1, last + 1)


@dataclass(frozen=True)
class ResNetShape:
    """Blocks of each of the four stages after the stem, res2 to res5, and whether they are bottlenecks."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool

    def channels(self, stage: int) -> int:
        """The depth of the maps of a stage, 0 for res2 to 3 for res5."""
        return 64 * 2**stage * (4 if self.bottleneck else 1)

    def layout(self, settings: TrunkSettings) -> MapLayout:
        """Without a neck the map of res4 (C4), as res5 belongs to the RoI head; with one those of res2 to res5. A
        stage's convolution of stride 2 rounds odd sides up."""
        stages = range(4) if settings.neck else [2]
        return MapLayout(tuple(map(self._level, stages)), settings.size_divisible)

    def frozen_maps(self, settings: TrunkSettings) -> tuple[Level, ...]:
        """The maps that the frozen stages give: with a neck those of all but the stem, else the last's. None where no
        stage is frozen."""
        frozen = min(settings.frozen_stages, 5 if settings.neck else 4)
        if frozen <= 1:
            return (Level(4, 64, round_up=True),) * frozen
        stages = range(frozen - 1) if settings.neck else [frozen - 2]
        return tuple(map(self._level, stages))

    def _level(self, stage: int) -> Level:
        return Level(2 ** (stage + 2), self.channels(stage), round_up=True)


VGG16 = VGGShape(((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)), batch_norm=False)
TINY = VGGShape(((16,), (32,), (64, 64), (96, 96, 96)), batch_norm=True)
RESNETS = {
    "resnet18": ResNetShape((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetShape((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetShape((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetShape((3, 4, 23, 3), bottleneck=True),
}

LAYOUTS: dict[str, Callable[[TrunkSettings], MapLayout]] = {
    "vgg16": VGG16.layout,
    "tiny": TINY.layout,
    **{name: shape.layout for name, shape in RESNETS.items()},
}
"""The layout of a backbone's own maps, for each name in `pipeline.nn.backbones.build.BACKBONES`."""


FROZEN_MAPS: dict[str, Callable[[TrunkSettings], tuple[Level, ...]]] = {
    "vgg16": VGG16.frozen_maps,
    "tiny": TINY.frozen_maps,
    **{name: shape.frozen_maps for name, shape in RESNETS.items()},
}
"""What `Trunk.frozen` gives of the same, where it runs a layer at all."""


def trunk_layout(name: str, settings: TrunkSettings) -> MapLayout:
    """The layout of the maps that heads see, of a backbone and its neck."""
    return neck_layout(LAYOUTS[name](settings), settings)


def neck_layout(own: MapLayout, settings: TrunkSettings) -> MapLayout:
    """The layout of the maps that heads see, from that of a backbone's own."""
    return NECKS[settings.neck.name](own, settings.neck) if settings.neck else own


def layout_of(name: str, **settings: Any) -> MapLayout:
    """`trunk_layout` of `TrunkSettings(**settings)`."""
    return trunk_layout(name, TrunkSettings(**settings))
