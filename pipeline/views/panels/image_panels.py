"""How the images of a stage are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipeline.views.contact_sheet import Tile
from pipeline.views.panels.request import PanelRequest

HELD_OUT = ("test", "val")
"""The splits of stages that detect or judge."""


class ImagePanels(NamedTuple):
    """`draw` makes the panels of an image; the stage has images of `splits`, the first of them shown before others, and
    with `plain` no views of them but the plain one."""

    draw: Callable[[PanelRequest], list[Tile]]
    splits: tuple[str, ...] = ("train",)
    plain: bool = False


class DrawnSample(NamedTuple):
    """How the sample that a training stage drew from an image is drawn.

    `option` gives the stage the folder of the targets that it draws from. `draw` takes a request of the stage that
    wrote them, the training stage's name and the epoch, counted from 0.
    """

    option: str
    draw: Callable[[PanelRequest, str, int], list[Tile]]
