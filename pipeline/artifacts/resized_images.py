"""The resize stage's images: what is known of each, and its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.artifacts.image_views import Entry, views_of
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import read_columns
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

if TYPE_CHECKING:
    from pipeline.datasets.originals import Originals


@dataclass(frozen=True)
class ImageInfo:
    """`size` (H, W) and `scale` (x, y) of a resized image, `original_size` (H, W), and the shard of its pixels, empty
    where they are not stored."""

    image_id: str
    size: tuple[int, int]
    original_size: tuple[int, int]
    scale: tuple[float, float]
    shard: str

    @property
    def drawn_from(self) -> tuple[int, int]:
        """(H, W) of the image that views are drawn from (`ResizedImages.source`)."""
        return self.size if self.shard else self.original_size


class ResizedImages:
    """The resize stage's images of some splits, all without a name, in ascending order of image_id.

    Args:
        originals: makes the reader of the originals, which pixels that are not stored come from; None: asking for
            such pixels raises an InputError.
    """

    def __init__(self, folder: Path, *splits: str, originals: Callable[[], Originals] | None = None) -> None:
        columns = read_columns(Path(folder) / "images.parquet", RESIZED_IMAGES)
        chosen = [i for i, own in enumerate(columns["split"]) if not splits or own in splits]
        self._infos = {
            Entry(str(columns["image_id"][i]), int(columns["view"][i])): ImageInfo(
                str(columns["image_id"][i]),
                (int(columns["height"][i]), int(columns["width"][i])),
                (int(columns["original_height"][i]), int(columns["original_width"][i])),
                (float(columns["scale_x"][i]), float(columns["scale_y"][i])),
                str(columns["shard"][i]),
            )
            for i in chosen
        }
        self._plain = [info for entry, info in self._infos.items() if entry.view == 0]
        self._shards = ShardReader(Path(folder))
        self._folder, self._make_originals = Path(folder), originals

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._plain)

    def __iter__(self) -> Iterator[ImageInfo]:
        """The images in view 0."""
        return iter(self._plain)

    def __getitem__(self, image_id: str) -> ImageInfo:
        """An image in view 0."""
        return self._infos[Entry(image_id)]

    def seen(self, entry: Entry) -> ImageInfo:
        """An image as the entry sees it; a mirror has the size and scale of what it mirrors."""
        return self._infos[entry.stored]

    @cached_property
    def scales(self) -> int:
        """At how many scales each of the images is stored; stages ask for every image, so all are looked at once."""
        return max((entry.scale + 1 for entry in self._infos), default=1)

    def described(self, mirror: bool) -> str:
        """How many images in which views, in words."""
        scales = f" at {self.scales} scales" if self.scales > 1 else ""
        return count_text(len(self), "image") + scales + (" and their mirrors" if mirror else "")

    def views(self, mirror: bool) -> tuple[int, ...]:
        """The views of each image, and their mirrors if wanted."""
        return views_of(self.scales, mirror)

    def entries(self, mirror: bool) -> Iterator[Entry]:
        """All images in all views."""
        views = self.views(mirror)
        return (Entry(image.image_id, view) for image in self for view in views)

    @cached_property
    def _originals(self) -> Originals:
        return originals_or_told(self._folder, self._make_originals)

    def source(self, image_id: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB that views of an image are drawn from: the original, or where pixels are stored those in
        view 0."""
        return self.pixels(Entry(image_id)) if self[image_id].shard else self._originals.pixels(image_id)

    def pixels(self, entry: Entry) -> np.ndarray:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: they are damaged; or they are not stored, and there are no originals, or one that cannot be
                decoded.
        """
        info = self.seen(entry)
        if info.shard:
            pixels = self._shards.read(info.shard, entry.stored.name)
        else:
            pixels = self._originals.resized(info.image_id, info.size)
        # OpenCV turns a row of pixels around in a fortieth of the time that NumPy takes to copy one backwards.
        return cv2.flip(pixels, 1) if entry.mirrored else pixels


def originals_or_told(folder: Path, make: Callable[[], Originals] | None) -> Originals:
    """The reader of the originals, for a folder of the resize stage that holds no pixels.

    Raises:
        InputError: there is none.
    """
    if make is None:
        raise InputError(
            f"{folder}: holds no pixels (resize.keep none), and the stage that reads them is given no --dataset "
            "and --raw to make them from; set resize.keep to pixels, or add both to its command in graphs/"
        )
    return make()


def held_out_images(folder: Path, originals: Callable[[], Originals] | None = None) -> ResizedImages:
    """The images that nothing is trained on: those of val and test."""
    return ResizedImages(folder, "val", "test", originals=originals)


def evaluated_images(folder: Path, split: str, originals: Callable[[], Originals] | None = None) -> ResizedImages:
    """The images of `evaluate.split`.

    Raises:
        InputError: the data set has none.
    """
    images = ResizedImages(folder, split, originals=originals)
    if len(images) == 0:
        raise InputError(f"{Path(folder) / 'images.parquet'}: has no {split} images; change evaluate.split or dataset")
    return images
