"""A whole dense detector, composed of a trunk and a head, as stages, bundles and exports use it.

Shapes: B images; H, W image height, width; N locations of an image; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pipeline.dense.detection_checks import check_detections
from pipeline.dense.maps import outputs_of
from pipeline.feeding.views import Views

if TYPE_CHECKING:
    from pipeline.dense.contract import DetectPart
    from pipeline.dense.head import DenseHead, Outputs
    from pipeline.geometry.points import Grid
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.nn.postprocess import DetectedBoxes
    from pipeline.params.reading import Params


class OfImage(NamedTuple):
    """The `outputs` of one image, (N, ...) each, and its `grid`, the locations that they are of."""

    outputs: Outputs
    grid: Grid


class DenseDetector:
    """Detects objects in images.

    Args:
        trunk, head: trained parts, in evaluation mode. part: the family's `detect_dense`.
        params: with the sections of the part.
    """

    def __init__(self, trunk: Trunk, head: DenseHead, part: DetectPart, params: Params) -> None:
        self.trunk, self.head = trunk, head
        self._part, self._params = part, params

    @torch.inference_mode()
    def __call__(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], scales: Sequence[tuple[float, float]]
    ) -> list[DetectedBoxes]:
        """Detections of B images, in resized pixels.

        Args:
            images: (B, 3, H, W) uint8 RGB, those that are smaller padded below and at the right.
            sizes: (H, W) of each without the padding.
            scales: resized pixels per original pixel, (x, y); a dense detector asks for none.
        """
        return [self.decode(own, size) for own, size in zip(self.outputs(images, sizes), sizes, strict=True)]

    def outputs(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[OfImage]:
        """The head's outputs for each image, without its padding; arguments as in a call."""
        outputs, padded = outputs_of(self.trunk, self.head, Views([], list(sizes), images=images))
        found = []
        for image, size in enumerate(sizes):
            own, grid = {name: value[image] for name, value in outputs.items()}, self.head.locations.of(*size)
            if grid != padded:
                inside = torch.from_numpy(grid.within(padded)).to(images.device)
                own = {name: value[inside] for name, value in own.items()}
            found.append(OfImage(own, grid))
        return found

    def decode(self, own: OfImage, size: tuple[int, int]) -> DetectedBoxes:
        """The detections of one image of (H, W) `size`, in resized pixels.

        Raises:
            InputError: the family's decoder gave what are none.
        """
        found = self._part.decode(own.outputs, own.grid, size, self._params)
        check_detections(found, self.head.num_classes, self._part.__name__)
        return found

    def best_scores(self, own: OfImage) -> list[Tensor]:
        """(Fh, Fw) of each level: the best score of any class at any anchor of a cell, 0..1, of one image."""
        best = self._part.class_scores(own.outputs).amax(dim=-1)
        levels = zip(best.split(own.grid.counts), own.grid.cells, strict=True)
        return [level.reshape(*cells, -1).amax(dim=2) for level, cells in levels]
