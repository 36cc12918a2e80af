"""How well anchors fit gt boxes: the IoU of each box with the best of all anchors of its image.

Shapes: N boxes; A anchors per location. An anchor shape is its (width, height), a gt
box is xyxy, both in pixels of the resized image. Anchors lie as `pipeline.geometry.anchors` says (Faster R-CNN, section
3.1.1).

No IoU of every anchor is needed. For anchors of one shape, IoU grows with the product of the overlaps along x and y,
and x and y of a location are chosen independently, so each axis has its own best location. Along an axis the overlap
of two intervals of fixed lengths never grows with the distance of their centres. Hence the best anchor of a shape is
the one whose centre is nearest to the box's centre, axis by axis, among those that may be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry.anchors import AnchorPlacement, Floats, first_location, level_shapes, level_steps
from pipeline.geometry.layout import Integers, MapLayout
from pipeline.params.anchors import AnchorParams
from pipeline.params.reading import Params
from pipeline.views.levels import head_layout

_BLOCK = 4096  # boxes at a time: their arrays stay in the processor's cache


def shape_iou(sizes: Floats, shapes: Floats) -> Floats:
    """IoU of co-centred boxes: (N, 2) and (A, 2) widths and heights, all above 0, to (N, A), 0..1."""
    intersection: Floats = np.minimum(sizes[:, None], shapes[None]).prod(axis=2)
    return intersection / (sizes.prod(axis=1)[:, None] + shapes.prod(axis=1)[None] - intersection)


@dataclass(frozen=True)
class Placement:
    """Where anchors lie and which of them may be used.

    Attributes:
        layout: the levels that anchors lie on.
        allowed_border: px that an anchor may stick out of the image on any side; None: any.
        border_key: the parameter that says so, in params.yaml; empty where none does.
        on_cells: how anchors lie on the cells.
        whole_sizes: whether their sizes are truncated to whole pixels.
    """

    layout: MapLayout
    allowed_border: float | None
    border_key: str = ""
    on_cells: AnchorPlacement = "centred"
    whole_sizes: bool = False

    def of_levels(self, shapes: Floats) -> list[Floats]:
        """(A, 2) widths and heights, px, of each level, of those of the first."""
        return [level_shapes(shapes, scale, self.on_cells, self.whole_sizes) for scale in self.layout.scales]

    def best_iou(self, boxes: npt.NDArray[np.float32], sizes: npt.NDArray[np.int32], shapes: Floats) -> Floats:
        """The largest IoU of each box with any anchor, of any level and shape at any location, that may be used.

        Arguments as in `best_of_levels`; (N,) float64, 0..1; 0 where no anchor may be used.
        """
        best: Floats = self.best_of_levels(boxes, sizes, shapes).max(axis=1, initial=0)
        return best

    def best_of_levels(self, boxes: npt.NDArray[np.float32], sizes: npt.NDArray[np.int32], shapes: Floats) -> Floats:
        """The same with the anchors of each level.

        Args:
            boxes: (N, 4) xyxy, px of the resized image.
            sizes: (N, 2) H, W of the resized image that each lies in.
            shapes: (A, 2) widths and heights of the anchors of a location of the first level.

        Returns:
            (N, levels) float64, 0..1; 0 where no anchor may be used.
        """
        best = np.zeros((len(boxes), len(self.layout.levels)))
        for start in range(0, len(boxes), _BLOCK):
            rows = slice(start, start + _BLOCK)
            own, size = boxes[rows].astype(np.float64), sizes[rows].astype(np.int64)
            areas = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
            for level, sides in enumerate(self.of_levels(shapes)):
                overlap = self._overlap(level, own[:, 0], own[:, 2], size[:, 1], sides[:, 0])
                overlap *= self._overlap(level, own[:, 1], own[:, 3], size[:, 0], sides[:, 1])
                union = areas[:, None] + sides.prod(axis=1) - overlap
                best[rows, level] = (overlap / union).max(axis=1, initial=0)
        return best

    def _overlap(self, level: int, low: Floats, high: Floats, side: Integers, lengths: Floats) -> Floats:
        """(N, A) px: the largest overlap along an axis of N intervals in images of (N,) sides with anchors of (A,)
        lengths."""
        half, border, offset = lengths / 2, self.allowed_border, first_location(self.on_cells)
        cells = [own.cells(self.layout.padded(side))[:, None] for own in self.layout.levels]
        stride = level_steps(self.layout, cells, level, self.on_cells)
        first = np.zeros(len(lengths), np.int64)
        last = np.broadcast_to(cells[level] - 1, (len(low), len(lengths)))
        if border is not None:
            # One beyond what exact arithmetic gives; then `inside`'s own comparison decides, as rounding may differ.
            first = np.maximum(np.ceil((half - border) / stride - offset).astype(np.int64) - 1, 0)
            limit = side[:, None] + border
            last = np.minimum(np.floor((limit - half) / stride - offset).astype(np.int64) + 1, last)
            for _ in range(2):
                first = first + ((first + offset) * stride - half < -border)
                last = last - ((last + offset) * stride + half > limit)
        nearest = np.rint((low + high)[:, None] / 2 / stride - offset)
        centre = (np.clip(nearest, first, np.maximum(last, first)) + offset) * stride
        overlap = np.minimum(centre + half, high[:, None]) - np.maximum(centre - half, low[:, None])
        return np.where(last >= first, np.maximum(overlap, 0.0), 0.0)


def has_anchors(params: Params) -> bool:
    """Whether the family has a section `anchors`, of the ratios and scales that this looks at."""
    return isinstance(params.sections().get("anchors"), AnchorParams)


def placement_of(params: Params) -> Placement:
    """Where the anchors of params.yaml lie; those that no section has an `allowed_border` for may all be used."""
    anchors = params.sections().get("anchors")
    lie: tuple[AnchorPlacement, bool] = ("centred", False)
    if isinstance(anchors, AnchorParams):
        lie = (anchors.placement, anchors.whole_sizes)
    for name, section in params.sections().items():
        if "allowed_border" in type(section).model_fields:
            border: float | None = getattr(section, "allowed_border")  # noqa: B009
            return Placement(head_layout(params), border, f"{name}.allowed_border", *lie)
    return Placement(head_layout(params), None, "", *lie)
