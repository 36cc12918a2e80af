"""Bytes of the stored maps of a training image, by backbone and size, from the layouts alone.

    python -m benchmarks.kept_maps PATH/TO/VOC_TREE [--sides 300 600]

A view is an image or its mirror, its longer side at most 1,000 / 600 of the shorter, in float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from defusedxml.ElementTree import parse

from pipeline.geometry.backbones import LAYOUTS, trunk_layout
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.trunk_settings import NeckSettings, TrunkSettings

FPN = NeckSettings("fpn")
TRUNKS = {
    "VGG16": ("vgg16", TrunkSettings()),
    "ResNet-50 C4": ("resnet50", TrunkSettings(size_divisible=32)),
    "ResNet-18 FPN": ("resnet18", TrunkSettings(size_divisible=32, neck=FPN)),
    "ResNet-50 FPN": ("resnet50", TrunkSettings(size_divisible=32, neck=FPN)),
}
FROZEN = {
    "VGG16": (128, 4),
    "ResNet-50 C4": (256, 4),
    "ResNet-18 FPN": (64, 4),
    "ResNet-50 FPN": (256, 4),
}
"""Channels and stride of the map of two frozen stages."""


def view_bytes(layout: MapLayout, height: int, width: int, value_bytes: int = 2) -> int:
    """Bytes of all maps of a view of (H, W)."""
    return value_bytes * layout.values(height, width)


def whole_layout(backbone: str, settings: TrunkSettings) -> MapLayout:
    """The layout of what `frozen_features` keeps where `backbone.frozen_stages` is all: the backbone's own maps, of
    every stage that a neck sees."""
    return LAYOUTS[backbone](settings)


def resized(root: Path, side: int) -> list[tuple[int, int]]:
    """(H, W) of the training images of a VOC tree with their shorter side resized."""
    names = (root / "ImageSets/Main/train.txt").read_text(encoding="utf-8").split()
    found = []
    for name in names:
        annotation = parse(root / "Annotations" / f"{name}.xml").getroot()
        assert annotation is not None
        height, width = (int(annotation.findtext(f"size/{key}", "0")) for key in ("height", "width"))
        scale = min(side / min(height, width), side * 5 / 3 / max(height, width))
        found.append((round(height * scale), round(width * scale)))
    return found


def main() -> None:
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("root", type=Path)
    own.add_argument("--sides", type=int, nargs="+", default=[300, 600])
    arguments = own.parse_args()
    sizes = {side: resized(arguments.root, side) for side in arguments.sides}
    heads = ("features, {} px", "two frozen stages, {} px", "whole backbone frozen, {} px")
    print("| trunk | " + " | ".join(head.format(side) for side in sizes for head in heads) + " |")
    print("|---|" + "---|---|---|" * len(sizes))
    for name, (backbone, settings) in TRUNKS.items():
        layout, whole = trunk_layout(backbone, settings), whole_layout(backbone, settings)
        channels, stride = FROZEN[name]
        cells: list[float] = []
        for images in sizes.values():
            padded = [layout.padded(np.array(size)) // stride for size in images]
            of_two = [2 * channels * int(high) * int(wide) for high, wide in padded]
            of_all, of_features = ([view_bytes(kept, *size) for size in images] for kept in (whole, layout))
            cells += [sum(values) / len(images) for values in (of_features, of_two, of_all)]
        print(f"| {name} | " + " | ".join(f"{value / 1e6:.2f} MB" for value in cells) + " |")


if __name__ == "__main__":
    main()
