"""What a data set as a whole must have for the graph to run on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.datasets.base import Split
from pipeline.runtime.errors import InputError


def shortcomings(
    images: Mapping[Split, int],
    without_images: Mapping[Split, str],
    without_boxes: Mapping[Split, str],
    reader: str,
    root: str,
) -> Iterator[InputError]:
    """What the dataset stage refuses a data set for once all of it is read; the stage raises the first.

    Args:
        images: how many each split has.
        without_images: splits of whose listed images none is left, and a line on each.
        without_boxes: splits whose images have no box to be found, and a line on each.
        reader: `dataset.reader`, for what to do.
        root: the data root.
    """
    for split, count in images.items():
        if count == 0 and split != "val":
            left = f" left: {without_images[split]}" if split in without_images else ""
            yield InputError(f"the data set has no {split} images{left or f'; change dataset.{reader}.{split}'}")
    if "train" in without_boxes:
        yield InputError(f"{root}: {without_boxes['train']}")
