"""The resize stage's images: what is known of each, and its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import read_columns
from pipeline.errors import InputError


@dataclass(frozen=True)
class ImageInfo:
    """`size` (H, W) and `scale` (x, y) of a resized image, `original_size` (H, W), and the shard of its pixels."""

    image_id: str
    size: tuple[int, int]
    original_size: tuple[int, int]
    scale: tuple[float, float]
    shard: str


class ResizedImages:
    """The resize stage's images of some splits, all without a name, in ascending order of image_id."""

    def __init__(self, folder: Path, *splits: str) -> None:
        columns = read_columns(Path(folder) / "images.parquet", schemas.RESIZED_IMAGES)
        chosen = [i for i, own in enumerate(columns["split"]) if not splits or own in splits]
        self._infos = {
            str(columns["image_id"][i]): ImageInfo(
                str(columns["image_id"][i]),
                (int(columns["height"][i]), int(columns["width"][i])),
                (int(columns["original_height"][i]), int(columns["original_width"][i])),
                (float(columns["scale_x"][i]), float(columns["scale_y"][i])),
                str(columns["shard"][i]),
            )
            for i in chosen
        }
        self._shards = ShardReader(Path(folder))

    def __len__(self) -> int:
        return len(self._infos)

    def __iter__(self) -> Iterator[ImageInfo]:
        return iter(self._infos.values())

    def __getitem__(self, image_id: str) -> ImageInfo:
        return self._infos[image_id]

    def pixels(self, entry: Entry) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        pixels = self._shards.read(self._infos[entry.image_id].shard, entry.image_id)
        # OpenCV turns a row of pixels around in a fortieth of the time that NumPy takes to copy one backwards.
        return cv2.flip(pixels, 1) if entry.mirrored else pixels


def held_out_images(folder: Path) -> ResizedImages:
    """The images that nothing is trained on: those of val and test."""
    return ResizedImages(folder, "val", "test")


def evaluated_images(folder: Path, split: str) -> ResizedImages:
    """The images of `evaluate.split`.

    Raises:
        InputError: the data set has none.
    """
    images = ResizedImages(folder, split)
    if len(images) == 0:
        raise InputError(f"{Path(folder) / 'images.parquet'}: has no {split} images; change evaluate.split or dataset")
    return images
