"""Bytes of every large output for VGG16 at 600 pixels, from the shapes that are written: python -m benchmarks.sizes

For VOC07 trainval and COCO train2017, with mirrored images. Written to docs/scaling.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import replace_section
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.shards import IMAGES_PER_SHARD

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
TRAINING_IMAGES = {"VOC07 trainval": 5_011, "COCO train2017": 118_287}
# Of a member of an npz shard: the zip's two headers and the array's own. Of a row: four for each number.
MEMBER_BYTES, PROPOSAL_BYTES, TARGET_BYTES = 264, 24, 48


@dataclass(frozen=True)
class Shape:
    """One image of (H, W) pixels, its (Fh, Fw, D) map and its proposals; `entries` counts it and its mirror."""

    height: int
    width: int
    feature_height: int
    feature_width: int
    channels: int
    anchors_per_location: int
    proposals: int
    entries: int = 2

    @property
    def cells(self) -> int:
        """Fh x Fw."""
        return self.feature_height * self.feature_width


# 500 x 375 pixels in VOC and 640 x 480 in COCO, the commonest sizes, both become 800 x 600.
VGG16_AT_600 = Shape(600, 800, 37, 50, 512, 9, 2000)


def pixels(shape: Shape) -> int:
    """uint8 RGB, plain only."""
    return shape.height * shape.width * 3 + MEMBER_BYTES


def bg_bits(shape: Shape) -> int:
    """One bit an anchor."""
    return shape.entries * (-(-shape.cells * shape.anchors_per_location // 8) + MEMBER_BYTES)


def maps(shape: Shape, bytes_a_value: int = 2) -> int:
    """float16 unless features.dtype says otherwise."""
    return shape.entries * (shape.cells * shape.channels * bytes_a_value + MEMBER_BYTES)


def objectness(shape: Shape) -> int:
    """float16, one a cell."""
    return shape.entries * (shape.cells * 2 + MEMBER_BYTES)


def outputs(shape: Shape) -> dict[str, int]:
    """Bytes an image of each stage whose output grows with the training images."""
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
    """In Markdown, a row a stage and a last one for all."""
    lines = [
        f"| stage | an image | {' | '.join(f'{name}, {count:,}' for name, count in TRAINING_IMAGES.items())} |",
        "| --- | --- | --- | --- |",
    ]
    sizes = outputs(shape)
    for name, size in [*((f"`{stage}`", size) for stage, size in sizes.items()), ("all", sum(sizes.values()))]:
        lines.append(
            f"| {name} | {size_text(size)} | {' | '.join(size_text(size * n) for n in TRAINING_IMAGES.values())} |"
        )
    shards = [-(-count // IMAGES_PER_SHARD) for count in TRAINING_IMAGES.values()]
    lines.append(f"| shards of a stage | 1/{IMAGES_PER_SHARD} | {' | '.join(f'{count:,}' for count in shards)} |")
    return "\n".join(lines)


def main() -> None:
    shape = VGG16_AT_600
    about = (
        f"A training image of {shape.width} x {shape.height} pixels has a map of {shape.feature_height} x "
        f"{shape.feature_width} x {shape.channels} float16 and\n"
        f"{shape.cells * shape.anchors_per_location:,} anchors; it and its mirror have {shape.proposals:,} proposals "
        "each. In decimal units."
    )
    body = f"{about}\n\n{table(shape)}\n\n`python -m benchmarks.sizes`"
    print(body)
    write_text(PAGE, replace_section(PAGE.read_text(encoding="utf-8"), "sizes", body))


if __name__ == "__main__":
    main()
