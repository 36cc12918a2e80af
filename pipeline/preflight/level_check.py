"""Compares box sizes with the levels of a detector without anchors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.params.reading import Params
from pipeline.preflight.anchorless import thin_images
from pipeline.preflight.collecting import Checked
from pipeline.preflight.report import QUANTILES, table_lines
from pipeline.preflight.size_check import LineFor, Panel
from pipeline.views.levels import head_layout


class LevelCheck:
    """A `SizeCheck` for params.yaml without a section `anchors`: how many cells of each level a box spans. It proposes
    nothing: which boxes are for which level, a family says in ways of its own."""

    def __init__(self, checked: Checked, params: Params, line_for: LineFor) -> None:
        self._checked, self._strides = checked, head_layout(params).strides
        self._shapes = checked.gt.of("train").shapes

    def remarks(self) -> Iterator[str]:
        """Images thinner than a cell of the finest level."""
        return thin_images(self._checked, self._strides[0])

    def lines(self) -> Iterator[str]:
        """The sides of the boxes in cells of each level, and how many boxes are smaller than a cell of the finest."""
        if not len(self._shapes):
            return
        sides = np.sqrt(self._shapes.prod(axis=1))
        yield from ("", "square root of a box's area, in cells of each level")
        rows = [
            (f"  stride {stride} px", [f"{value:.1f}" for value in np.quantile(sides / stride, QUANTILES)])
            for stride in self._strides
        ]
        yield from table_lines([f"{q:.0%}" for q in QUANTILES], rows)
        small = float((self._shapes.min(axis=1) < self._strides[0]).mean())
        yield f"  {small:.1%} of the boxes have a side shorter than a cell of the finest level"
        yield "  there are no anchors, so none are judged or proposed"

    def panels(self) -> list[Panel]:
        """Sizes beside cells, ratios, and the square root of the area beside the strides."""
        from pipeline.preflight.level_picture import level_panels  # Altair takes a second to import

        return level_panels(self._shapes, self._strides) if len(self._shapes) else []
