"""What a checked data set is, whatever the format it was read from.

Readers parse files into `pipeline.datasets.records`; `pipeline.datasets.validation` checks them and returns a
`Dataset`, as the generated shapes do. Its images come one at a time in ascending order of `image_id`, so that memory
does not grow with the data set. Input that cannot be used at all raises `InputError`; other faults are treated as
`dataset.findings` of params.yaml says, and there is a `Finding` of each.

Boxes are continuous corners (x1, y1, x2, y2) in pixels of the image: its left edge is 0, its right edge is its width,
and a box is x2 - x1 wide. Label 0 is the background, label i the class `classes[i - 1]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.datasets.tally import Tally

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
IGNORE_LABEL = -1


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image and its G ground-truth boxes."""

    image_id: str
    split: Split
    file: str  # with "/"; the first part names the root: "raw" for the linked data, "dataset" for generated images
    width: int  # px, of the original image, as are the boxes
    height: int
    boxes: npt.NDArray[np.float32]  # (G, 4) xyxy
    labels: npt.NDArray[np.int16]  # (G,) 1..C-1, or IGNORE_LABEL: a region that counts for no class and against none
    difficult: npt.NDArray[np.bool_]  # (G,) VOC's flag: not trained on, not counted in evaluation
    iscrowd: npt.NDArray[np.bool_]  # (G,) COCO's flag: a region of many objects


@dataclass(frozen=True)
class Finding:
    """One fault of the input and what was done about it."""

    file: str  # the file at fault, named as in `AnnotatedImage.file`
    object: int  # index of the object in its file, -1 for the whole file
    kind: str  # e.g. "zero_area", "unknown_class"
    detail: str  # what was found
    action: str  # what was done about it, e.g. "dropped", "clipped", "kept"
    count: int = 1  # objects of the file that it is about


@dataclass(frozen=True)
class DividedImage:
    """The split that `dataset.split` gave to an image."""

    file: str  # below the data root, with "/"
    split: Split
    group: str  # the first file of those that stay together, "" of an image that stands alone
    by: str  # why it is among them: bytes, look or name, several with "+"


@dataclass
class Dataset:
    """A data set to be read once: `findings` and `tallies` are complete when `images` is used up."""

    classes: tuple[str, ...]  # without the background
    images: Iterator[AnnotatedImage]  # ascending image_id
    findings: list[Finding] = field(default_factory=list)
    remarks: Sequence[str] = ()  # lines for a person on what was passed over
    tallies: dict[Split, Tally] = field(default_factory=lambda: {split: Tally() for split in SPLITS})
    named_in: str = ""  # where its classes are named, "" for in the annotations
    division: Sequence[DividedImage] = ()  # by ascending file; empty where each split has a list of its own

    def without_images(self) -> dict[Split, str]:
        """Splits of whose listed images none is left, why, and what to do, in one line each."""
        reasons = {split: tally.why_no_image() for split, tally in self.tallies.items()}
        return {split: why for split, why in reasons.items() if why}

    def without_boxes(self) -> dict[Split, str]:
        """Splits whose images have no box to be found: that, why, and what to do, in one line each."""
        lines = {}
        for split, tally in self.tallies.items():
            why = tally.why_empty(split)
            if why:
                lines[split] = f"{why}; {tally.remedy(self.named_in)}"
        return lines
