"""Bytes of every large output, from the shapes that are written: python -m benchmarks.sizes

VGG16 at 600 px as in the paper, and ResNet-50 with FPN at 800 px as on COCO, for VOC07 trainval and COCO train2017,
with mirrored images. Written to docs/scaling.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import replace_section
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.shards import IMAGES_PER_SHARD
from pipeline.geometry.backbones import trunk_layout
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings, TrunkSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
TRAINING_IMAGES = {"VOC07 trainval": 5_011, "COCO train2017": 118_287}
# Of a member of an npz shard: the zip's two headers and the array's own. Of a row: four for each number.
MEMBER_BYTES, PROPOSAL_BYTES, TARGET_BYTES = 264, 24, 48


@dataclass(frozen=True)
class Shape:
    """One image of (H, W) pixels, its maps and its proposals; `entries` counts it and its mirror."""

    height: int
    width: int
    layout: MapLayout
    anchors_per_location: int
    proposals: int
    entries: int = 2

    @property
    def cells(self) -> int:
        """Of all levels."""
        return sum(height * width for height, width in self.layout.sizes(self.height, self.width))

    @property
    def anchors(self) -> int:
        """Of all levels."""
        return self.cells * self.anchors_per_location


# 500 x 375 pixels in VOC and 640 x 480 in COCO, the commonest sizes, become 800 x 600 and 1,067 x 800.
VGG16_AT_600 = Shape(600, 800, trunk_layout("vgg16", TrunkSettings()), 9, 2000)
FPN_AT_800 = Shape(
    800, 1067, trunk_layout("resnet50", TrunkSettings(size_divisible=32, neck=NeckSettings("fpn"))), 3, 2000
)
SHAPES = {"VGG16, shorter side 600": VGG16_AT_600, "ResNet-50 with FPN, shorter side 800": FPN_AT_800}


def one_map(height: int, width: int, stride: int, channels: int, anchors: int, proposals: int) -> Shape:
    """An image and its mirror, on one level."""
    return Shape(height, width, MapLayout((Level(stride, channels),)), anchors, proposals)


def pixels(shape: Shape) -> int:
    """uint8 RGB, plain only."""
    return shape.height * shape.width * 3 + MEMBER_BYTES


def _members(shape: Shape) -> int:
    """Headers of one member per level."""
    return MEMBER_BYTES * len(shape.layout.levels)


def bg_bits(shape: Shape) -> int:
    """One bit per anchor."""
    return shape.entries * (-(-shape.anchors // 8) + MEMBER_BYTES)


def maps(shape: Shape, value_bytes: int = 2) -> int:
    """float16 unless features.dtype says otherwise."""
    return shape.entries * (shape.layout.values(shape.height, shape.width) * value_bytes + _members(shape))


def largest_map(shape: Shape) -> int:
    """Of an image and its mirror. Each level has shards of its own."""
    sizes = shape.layout.sizes(shape.height, shape.width)
    values = [high * wide * level.channels for (high, wide), level in zip(sizes, shape.layout.levels, strict=True)]
    return shape.entries * (2 * max(values) + MEMBER_BYTES)


def objectness(shape: Shape) -> int:
    """float16, one per cell."""
    return shape.entries * (shape.cells * 2 + _members(shape))


def outputs(shape: Shape) -> dict[str, int]:
    """Bytes per image of each stage whose output grows with the training images."""
    proposals = shape.entries * shape.proposals * PROPOSAL_BYTES + objectness(shape)
    targets = shape.entries * shape.proposals * TARGET_BYTES
    return {
        "resize": pixels(shape),
        "anchor_targets": bg_bits(shape),
        "proposals_step1": proposals,
        "proposal_targets_step2": targets,
        "features": maps(shape),
        "proposals_step3": proposals,
        "proposal_targets_step4": targets,
    }


def size_text(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if size >= 100 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def table(shape: Shape) -> str:
    """In Markdown, one row per stage, and the sum."""
    lines = [
        f"| stage | per image | {' | '.join(f'{name}, {count:,}' for name, count in TRAINING_IMAGES.items())} |",
        "| --- | --- | --- | --- |",
    ]
    sizes = outputs(shape)
    for name, size in [*((f"`{stage}`", size) for stage, size in sizes.items()), ("all", sum(sizes.values()))]:
        lines.append(
            f"| {name} | {size_text(size)} | {' | '.join(size_text(size * n) for n in TRAINING_IMAGES.values())} |"
        )
    levels = len(shape.layout.levels)
    shards = [levels * -(-count // IMAGES_PER_SHARD) for count in TRAINING_IMAGES.values()]
    largest = size_text(IMAGES_PER_SHARD * largest_map(shape))
    lines.append(f"| shards of `features`, up to {largest} each | | {' | '.join(f'{count:,}' for count in shards)} |")
    return "\n".join(lines)


def about(name: str, shape: Shape) -> str:
    """What the table is of."""
    levels = [
        f"{height} x {width} x {level.channels}"
        for (height, width), level in zip(
            shape.layout.sizes(shape.height, shape.width), shape.layout.levels, strict=True
        )
    ]
    which = f"a map of {levels[0]}" if len(levels) == 1 else f"maps of\n{', '.join(levels)}"
    return (
        f"**{name}.** A training image of {shape.width:,} x {shape.height} pixels has {which}\n"
        f"in float16, and {shape.anchors:,} anchors. It and its mirror have {shape.proposals:,} proposals each."
    )


def main() -> None:
    parts = [f"{about(name, shape)}\n\n{table(shape)}" for name, shape in SHAPES.items()]
    body = "\n\n".join(["In decimal units.", *parts, "`python -m benchmarks.sizes`"])
    print(body)
    write_text(PAGE, replace_section(PAGE.read_text(encoding="utf-8"), "sizes", body))


if __name__ == "__main__":
    main()
