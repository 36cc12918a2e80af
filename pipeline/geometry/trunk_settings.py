"""What a trunk is made by besides its backbone's name; its layout follows from both. In params.yaml it is the section
`backbone`."""

from __future__ import annotations

from dataclasses import dataclass

RESNET_NAMES = ("resnet18", "resnet34", "resnet50", "resnet101")
BACKBONE_NAMES = ("tiny", "vgg16", *RESNET_NAMES)
"""The names that params.yaml may use, without NumPy, so that checking the file does not need it."""

TIMM = "timm/"
"""Prefix of the names of timm's models, which are backbones too: `timm/resnet18.a1_in1k`."""

NECK_BACKBONES = {
    "fpn": RESNET_NAMES,
    "fpn_p3_p7": RESNET_NAMES,
    "simple_fpn": (),
    "ssd300": ("vgg16",),
    "ssd512": ("vgg16",),
    "ssd_tiny": ("tiny",),
}
"""The backbones that a neck stands on, by its name."""

NECKS_ON_TIMM = ("fpn", "fpn_p3_p7", "simple_fpn")
"""The necks that stand on a model of timm's too, where it has the maps."""

STRIDE_BELOW = {"simple_fpn": 16}
"""Stride of the one map that a neck stands on, by its name; images are padded to whole cells of it."""

FINEST_STRIDE = {"ssd300": 8, "ssd512": 8, "ssd_tiny": 8}
"""Stride of the finest map that a neck reads of a VGG, by its name."""

NECK_SIDES = {"ssd300": 300, "ssd512": 512}
"""Sides of the only images, px, square ones, that a neck makes the maps of its layout of; other necks take any."""

ALL_STAGES = 5
"""As many as a backbone has at most, conv1 to conv5; so many frozen stages freeze any whole."""


@dataclass(frozen=True)
class NeckSettings:
    """A neck.

    Attributes:
        name: in `pipeline.geometry.necks.NECKS`.
        channels: of its maps.
        norm: of its laterals and outputs, none or batch.
        p6_from: of `fpn_p3_p7`, what P6 is made of, p5 or c5.
    """

    name: str
    channels: int = 256
    norm: str = "none"
    p6_from: str = "p5"


@dataclass(frozen=True)
class TrunkSettings:
    """A backbone and its neck.

    Attributes:
        frozen_stages: stages that are never trained, from the first.
        ceil_pool: VGG's poolings round odd sides up.
        stride_in_1x1: a bottleneck that halves its maps does so in its first convolution, not in the 3x3.
        norm_epsilon: of FrozenBatchNorm.
        size_divisible: images are padded to a multiple of so many pixels.
        neck: None: heads see the backbone's own map.
    """

    frozen_stages: int = 0
    ceil_pool: bool = False
    stride_in_1x1: bool = False
    norm_epsilon: float = 1e-5
    size_divisible: int = 1
    neck: NeckSettings | None = None
