"""What an image costs when it is loaded: stored pixels, its original decoded, and views drawn of either.

    python -m benchmarks.drawn_views PATH/TO/VOC_TREE [--sides 300 512]

CPU time of one thread, ms an image: the median of the training images, each with its gt boxes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from defusedxml.ElementTree import parse

from pipeline.artifacts.shards import ShardReader, open_shard
from pipeline.augment.drawing import draw, generators
from pipeline.augment.pixels import view_pixels
from pipeline.datasets.images import read_rgb
from pipeline.datasets.interpolation import to_size
from pipeline.params.augment import AugmentParams

SSD = AugmentParams.model_validate(
    {
        "photometric": {
            "probability": 0.5,
            "brightness": 32.0,
            "contrast": [0.5, 1.5],
            "saturation": [0.5, 1.5],
            "hue": 18.0,
        },
        "expand": {"probability": 0.5, "largest": 4.0, "colour": [123, 117, 104]},
        "crop": {
            "min_iou": ["whole", 0.1, 0.3, 0.5, 0.7, 0.9, "any"],
            "side": [0.3, 1.0],
            "ratio": [0.5, 2.0],
            "trials": 50,
        },
        "flip": 0.5,
    }
)
"""What SSD draws."""
_EPOCHS = 3


def boxes_of(annotation: Path) -> np.ndarray:
    """(G, 4) gt boxes of a VOC annotation, px."""
    root = parse(annotation).getroot()
    assert root is not None
    names = ("xmin", "ymin", "xmax", "ymax")
    rows = [[float(box.findtext(name, "0")) for name in names] for box in root.iter("bndbox")]
    return np.array(rows).reshape(-1, 4)


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time that a call takes in this thread, ms."""
    started = time.thread_time()
    work()
    return 1000 * (time.thread_time() - started)


@dataclass(frozen=True)
class Photo:
    """An image of a data set, and the same at the network's size in a shard of its own."""

    root: Path
    name: str
    side: int
    shards: ShardReader

    def original(self) -> np.ndarray:
        """Its file, decoded."""
        return read_rgb(self.root / "JPEGImages" / f"{self.name}.jpg")

    def decoded(self) -> np.ndarray:
        """What a network sees of it where no pixels are stored."""
        return to_size(self.original(), (self.side, self.side))

    def stored(self) -> np.ndarray:
        """What is read where they are."""
        return self.shards.read(f"{self.name}.npz", self.name)

    def drawn(self, read: Callable[[], np.ndarray], boxes: np.ndarray, epoch: int) -> np.ndarray:
        """A view of an image with (G, 4) gt boxes, px of it."""
        pixels = read()
        own = draw(SSD, (pixels.shape[0], pixels.shape[1]), boxes, generators(0, "targets", epoch, self.name))
        return view_pixels(pixels, own, (self.side, self.side), SSD.expand.colour)

    def ways(self, epoch: int) -> dict[str, Callable[[], np.ndarray]]:
        """The ways to load it, by name."""
        boxes, (height, width) = boxes_of(self.root / "Annotations" / f"{self.name}.xml"), self.original().shape[:2]
        scaled = boxes * np.array([self.side / width, self.side / height] * 2)
        return {
            "stored pixels": self.stored,
            "decoded": self.decoded,
            "drawn of stored pixels": partial(self.drawn, self.stored, scaled, epoch),
            "drawn of the original": partial(self.drawn, self.original, boxes, epoch),
        }


def costs(root: Path, side: int) -> dict[str, float]:
    """ms an image by way of loading, for a network of `side` x `side` px."""
    names = (root / "ImageSets/Main/train.txt").read_text(encoding="utf-8").split()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            photo = Photo(root, name, side, ShardReader(Path(folder)))
            with open_shard(Path(folder) / f"{name}.npz") as append:
                append({name: photo.decoded()})
            photo.stored()
            for epoch in range(_EPOCHS):
                for way, load in photo.ways(epoch).items():
                    found.setdefault(way, []).append(cpu_ms(load))
    return {way: median(values) for way, values in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a VOC tree")
    parser.add_argument("--sides", type=int, nargs="+", default=[300, 512], help="sides of the network's images")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for side in arguments.sides:
        print(side, {way: round(value, 2) for way, value in costs(arguments.root, side).items()})
