"""The layouts of the backbones by name, and the shapes of VGG trunks that those of VGG follow from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.geometry.layout import Level, MapLayout


@dataclass(frozen=True)
class VGGShape:
    """Output channels of each convolution, block by block, and whether batch norm follows each."""

    blocks: tuple[tuple[int, ...], ...]
    batch_norm: bool

    def layout(self, ceil_pool: bool) -> MapLayout:
        """One map; each of the 2x2 poolings between blocks halves it, rounding down, or up with `ceil_pool`."""
        return MapLayout((Level(2 ** (len(self.blocks) - 1), self.blocks[-1][-1], round_up=ceil_pool),))


VGG16 = VGGShape(((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)), batch_norm=False)
TINY = VGGShape(((16,), (32,), (64, 64), (96, 96, 96)), batch_norm=True)

LAYOUTS: dict[str, Callable[[bool], MapLayout]] = {"vgg16": VGG16.layout, "tiny": TINY.layout}
"""From `ceil_pool` to the layout, for each name in `pipeline.nn.backbones.build.BACKBONES`."""


def layout_of(name: str, *, ceil_pool: bool) -> MapLayout:
    """The layout of a backbone's maps."""
    return LAYOUTS[name](ceil_pool)
