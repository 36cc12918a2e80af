"""Compares box sizes with anchors."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.params.reading import Params
from pipeline.preflight.anchor_fit import placement_of
from pipeline.preflight.anchor_report import advice, anchor_lines, level_lines
from pipeline.preflight.anchorless import without_anchors
from pipeline.preflight.collecting import Checked
from pipeline.preflight.size_check import LineFor, Panel
from pipeline.preflight.size_search import larger_size
from pipeline.preflight.verdict import MOST_UNREACHED, Verdict, fit_of, judge_anchors


class AnchorCheck:
    """A `SizeCheck` for params.yaml with a section `anchors`: how near anchors come to the boxes, and which come
    nearer."""

    def __init__(self, checked: Checked, params: Params, line_for: LineFor) -> None:
        self._checked, self._params, self._line_for = checked, params, line_for
        self._placement, self._train = placement_of(params), checked.gt.of("train")
        self._verdict: Verdict | None = None
        if len(self._train):
            self._verdict = judge_anchors(self._train, params.anchors, self._placement, params.base.seed)

    def remarks(self) -> Iterator[str]:
        """Images without an anchor that may be used."""
        return without_anchors(self._checked, self._params.anchors, self._placement)

    def lines(self) -> Iterator[str]:
        """How the anchors fit, and what to do if they do not."""
        verdict, placement = self._verdict, self._placement
        if verdict is None:
            return
        shapes = verdict.configured.shapes
        boxes = {split: self._checked.gt.of(split) for split in ("val", "test")}
        fits = {split: fit_of(own, placement, shapes) for split, own in boxes.items() if len(own)}
        yield from anchor_lines(verdict, fits, placement)
        if len(placement.layout.levels) > 1:
            own = placement.best_of_levels(self._train.boxes, self._train.sizes, verdict.configured.shapes)
            yield from level_lines(own, verdict.configured.shapes, placement)
        larger = line = None
        if verdict.configured.below(0.5) > MOST_UNREACHED:
            larger = larger_size(self._train, self._params.resize, placement, shapes, MOST_UNREACHED)
        if verdict.kind == "propose":
            grid = {"anchors.ratios": list(verdict.grid.ratios), "anchors.scales": list(verdict.grid.scales)}
            line = self._line_for(grid)
        yield from advice(verdict, self._params.anchors.base_size, placement, larger, line)

    def panels(self) -> list[Panel]:
        """Sizes, ratios and the best anchor of each box."""
        from pipeline.preflight.anchor_picture import anchor_panels  # Altair takes a second to import

        if self._verdict is None:
            return []
        return anchor_panels(self._train.shapes, self._params.anchors, self._verdict, self._placement)
