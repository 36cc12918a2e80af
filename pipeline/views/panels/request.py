"""What a panel is to show: a stage, an image, and from which score on detections are shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.artifacts.image_views import Entry
from pipeline.geometry.layout import MapLayout
from pipeline.graphs.command import StageCommand
from pipeline.params.reading import Params
from pipeline.views.declared_graph import DeclaredGraph
from pipeline.views.levels import trunk_layout
from pipeline.views.samples import NetworkImages, OriginalImages

_SIDE, _BRIEF_SIDE = 560, 440


@dataclass(frozen=True)
class PanelRequest:
    """A stage's command in the project's folder, one image, the score, the graph, which names related stages, all
    parameters, and whether the panels are to be brief: those that a sheet of several images has room for."""

    command: StageCommand
    root: Path
    entry: Entry
    score: float
    graph: DeclaredGraph
    params: Params
    brief: bool = False

    @property
    def folder(self) -> Path:
        """The stage's folder."""
        return self.root / self.command.out

    @cached_property
    def images(self) -> NetworkImages:
        """The resize stage's images."""
        folder = images_folder(self.command, self.root)
        makers = (
            own for own in self.graph.commands.values() if own.module == "resize" and self.root / own.out == folder
        )
        resize = next(makers, None)
        if resize is None:
            return NetworkImages(folder)
        places = (self.root / resize.input(option) for option in ("dataset", "raw"))
        return NetworkImages(folder, lambda: OriginalImages(*places))

    @property
    def layout(self) -> MapLayout:
        """The levels of the trunk's maps."""
        return trunk_layout(self.params)

    @property
    def name(self) -> str:
        """The image, as captions call it."""
        return self.entry.caption

    @property
    def side(self) -> int:
        """The longer side of a panel, px."""
        return _BRIEF_SIDE if self.brief else _SIDE


def images_folder(command: StageCommand, root: Path) -> Path:
    """Where the images lie that a stage works on: the folder of the resize stage, or the dataset stage's own."""
    return root / (command.out if command.module in ("dataset", "resize") else command.input("resize"))
