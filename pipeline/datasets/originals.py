"""The images of a data set as the dataset stage listed them, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.datasets.images import read_rgb
from pipeline.datasets.interpolation import to_size
from pipeline.runtime.errors import InputError


def read_original(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an image that is listed with a size.

    Raises:
        InputError: it cannot be decoded, or has another size.
    """
    pixels = read_rgb(path)
    if pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: is {pixels.shape[1]} x {pixels.shape[0]} px, its annotation says "
            f"{width} x {height}; correct the annotation"
        )
    return pixels


def file_of(file: str, roots: Mapping[str, Path]) -> Path:
    """Where an image lies whose `file` is listed; the first part of it names one of the roots, raw or dataset."""
    root, _, rest = file.partition("/")
    return roots[root] / rest


class Originals:
    """The images of a data set, one at a time.

    Args:
        dataset: folder of the dataset stage. raw: the linked data root.
    """

    def __init__(self, dataset: Path, raw: Path) -> None:
        columns = read_columns(dataset / "images.parquet", DATASET_IMAGES, ["image_id", "file", "width", "height"])
        ids, *rest = (values.tolist() for values in columns.values())
        self._rows = dict(zip(ids, zip(*rest, strict=True), strict=True))
        self._folder, self._roots = dataset, {"raw": raw, "dataset": dataset}

    def pixels(self, image_id: str) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB.

        Raises:
            InputError: it is not listed, cannot be decoded, or has another size than is listed.
        """
        if image_id not in self._rows:
            raise InputError(f"{self._folder / 'images.parquet'}: has no image {image_id!r}; dvc repro resize")
        file, width, height = self._rows[image_id]
        return read_original(file_of(file, self._roots), width, height)

    def resized(self, image_id: str, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of (H, W) `size`, as the resize stage makes it."""
        return to_size(self.pixels(image_id), size)
