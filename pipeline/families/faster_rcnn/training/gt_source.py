"""The gt boxes of an iteration's images, for training on fresh proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes

if TYPE_CHECKING:
    from pipeline.artifacts.ground_truth import GroundTruth
    from pipeline.artifacts.image_views import Entry
    from pipeline.artifacts.resized_images import ResizedImages


class GtSource:
    """The ground truth and scales of the images of a batch."""

    def __init__(self, gt: GroundTruth, images: ResizedImages) -> None:
        self._gt, self._images = gt, images

    def boxes(self, entries: Sequence[Entry], sizes: Sequence[tuple[int, int]]) -> list[GtBoxes]:
        """The gt boxes and regions of entries of (H, W) `sizes`, as each sees its image."""
        found = []
        for entry, (_, width) in zip(entries, sizes, strict=True):
            boxes = np.ascontiguousarray(self._gt.boxes(entry, width))
            regions = np.ascontiguousarray(self._gt.regions(entry, width))
            labels = self._gt[entry.image_id][1]
            found.append(GtBoxes(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(regions)))
        return found

    def scales(self, entries: Sequence[Entry]) -> list[tuple[float, float]]:
        """Resized pixels per original pixel, (x, y), of each entry."""
        return [self._images.seen(entry).scale for entry in entries]
