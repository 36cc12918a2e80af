"""How `frcnn check-data` compares default boxes with the boxes of a data set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.building.layout import map_layout
from pipeline.families.ssd.default_boxes import box_shares, default_boxes, locations
from pipeline.families.ssd.matching import ious
from pipeline.geometry.points import Floats
from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked
from pipeline.preflight.family_checks import FamilyChecks
from pipeline.preflight.level_check import LevelCheck
from pipeline.preflight.report import table_lines
from pipeline.preflight.size_check import LineFor

MOST_BOXES = 2000
"""Of more so many are compared, drawn at random."""


class DefaultBoxCheck(LevelCheck):
    """A `SizeCheck`: how well the default boxes of each level fit the boxes of train."""

    def __init__(self, checked: Checked, params: Params, line_for: LineFor) -> None:
        super().__init__(checked, params, line_for)
        self._params, self._boxes = params, checked.gt.of("train").boxes

    def lines(self) -> Iterator[str]:
        """The IoU of each box with the best default box, by the level that this is of."""
        count = len(self._boxes)
        if not count:
            return
        draw = np.random.default_rng(self._params.base.seed)
        rows = draw.choice(count, MOST_BOXES, replace=False) if count > MOST_BOXES else np.arange(count)
        best, level = self._best_of(self._boxes[np.sort(rows)].astype(np.float64))
        among = f" ({MOST_BOXES} of the {count} drawn)" if count > MOST_BOXES else ""
        yield from ("", f"default boxes: IoU of a box of train with the best{among}")
        table = [("  all levels", _figures(best, len(best)))]
        resize, shares = self._params.resize, box_shares(self._params.ssd)
        for index, (stride, own) in enumerate(zip(self._strides, shares, strict=True)):
            sides = np.sqrt(own.prod(axis=1) * resize.fixed_width * resize.fixed_height)
            name = f"  stride {stride} px, {len(own)} a cell of {sides.min():.0f} to {sides.max():.0f} px"
            table.append((name, _figures(best[level == index], len(best))))
        yield from table_lines(["boxes", "share", "mean", "below .5"], table)
        yield "  each box has its best default box, whatever the IoU; ssd.scales and ssd.ratios give others"

    def _best_of(self, boxes: Floats) -> tuple[np.ndarray, np.ndarray]:
        """(N,) largest IoU, and the level of that default box."""
        params = self._params
        size = (params.resize.fixed_height, params.resize.fixed_width)
        grid = locations(map_layout(params.backbone), params).of(*size)
        own, levels = default_boxes(grid, size, params.ssd), grid.levels()
        found = [(float(iou.max()), int(levels[iou.argmax()])) for box in boxes for iou in ious(own, box[None])]
        return np.array([iou for iou, _ in found]), np.array([level for _, level in found])


def _figures(best: np.ndarray, count: int) -> tuple[object, ...]:
    mean = f"{best.mean():.3f}" if len(best) else "-"
    return len(best), f"{len(best) / count:.1%}", mean, int((best < 0.5).sum())


CHECKS = FamilyChecks(prepares=("ssd_targets",), sizes=DefaultBoxCheck)
