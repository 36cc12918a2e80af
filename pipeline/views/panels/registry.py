"""Which stages can be drawn image by image, for which images, and what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts.image_views import Entry
from pipeline.datasets.base import SPLITS
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.views.command import StageCommand
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import DeclaredGraph, read_declared_graph
from pipeline.views.panels.anchors import anchor_panels
from pipeline.views.panels.detections import detect_panels, evaluate_panels
from pipeline.views.panels.gt import dataset_panels, resize_panels
from pipeline.views.panels.maps import features_panels
from pipeline.views.panels.proposals import proposal_panels
from pipeline.views.panels.request import PanelRequest
from pipeline.views.panels.targets import target_panels


class ImagePanels(NamedTuple):
    """`draw` makes the panels of an image; the stage has images of `splits`, the first of them shown before others, and
    with `plain` no views of them but the plain one."""

    draw: Callable[[PanelRequest], list[Tile]]
    splits: tuple[str, ...] = ("train",)
    plain: bool = False


_HELD_OUT = ("test", "val")
_BY_MODULE = {
    "dataset": ImagePanels(dataset_panels, SPLITS, plain=True),
    "resize": ImagePanels(resize_panels, SPLITS),
    "anchor_targets": ImagePanels(anchor_panels),
    "proposals": ImagePanels(proposal_panels),
    "proposal_targets": ImagePanels(target_panels),
    "features": ImagePanels(features_panels),
    "frozen_features": ImagePanels(features_panels),
    "detect": ImagePanels(detect_panels, _HELD_OUT, plain=True),
    "evaluate": ImagePanels(evaluate_panels, _HELD_OUT, plain=True),
}


def shows_images(command: StageCommand) -> bool:
    """Whether the stage says something of single images."""
    return command.module in _BY_MODULE


def image_panels(command: StageCommand) -> ImagePanels:
    """How the stage's images are drawn.

    Raises:
        InputError: it is of no single images.
    """
    if not shows_images(command):
        raise InputError(f"{command.stage} is of no single images; leave out --image and give --out FILE.png")
    return _BY_MODULE[command.module]


def panels_of(
    command: StageCommand,
    root: Path,
    entry: Entry,
    *,
    score: float = 0.5,
    brief: bool = False,
    graph: DeclaredGraph | None = None,
    params: Params | None = None,
) -> list[Tile]:
    """What a stage says of one image. One shard and one row group of each table are read, no torch.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to; its params.yaml gives the anchors.
        entry: the image, as `entry_of` finds it by its name.
        score: least score of the detections that are shown, 0..1.
        brief: smaller, and those panels alone that a sheet of several images has room for.
        graph, params: dvc.yaml and params.yaml, where the caller has read them already.

    Returns:
        (h, w, 3) uint8 RGB images with captions and legends, in the order in which they are to be looked at.

    Raises:
        InputError: the stage is of no single images, or an artifact is missing, damaged or of another run.
    """
    draw = image_panels(command).draw
    graph, params = graph or read_declared_graph(root), params or load_params(Path(root) / "params.yaml")
    return draw(PanelRequest(command, Path(root), entry, score, graph, params, brief))
