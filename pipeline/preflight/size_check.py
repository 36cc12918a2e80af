"""Compares box sizes with what a detector predicts from: its anchors, or the cells of its levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked

if TYPE_CHECKING:  # Altair takes a second to import
    from pipeline.views.charts import AnyChart

LineFor = Callable[[Mapping[str, Any]], str | None]
"""From parameters to set, by their dotted names, to a command that sets them; None where there is none."""


class Panel(NamedTuple):
    """A chart of the picture, and its title."""

    title: str
    chart: AnyChart


class SizeCheck(Protocol):
    """Box sizes of one data set against one params.yaml. A family may have its own in its part `check_data`."""

    def remarks(self) -> Iterator[str]:
        """Lines on images in which nothing can be learnt or found at the size that they are resized to."""

    def lines(self) -> Iterator[str]:
        """Lines on the boxes of train, with parameters that would suit them better; none where there is no box."""

    def panels(self) -> list[Panel]:
        """Three charts of the boxes of train, of which there is one: sizes, ratios, and how well they suit."""


SizeCheckMaker = Callable[[Checked, Params, LineFor], SizeCheck]
