"""What a stage says of one image, as panels: an image, a caption and a legend each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.artifacts.image_views import Entry
from pipeline.errors import InputError
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.views.command import StageCommand
from pipeline.views.contact_sheet import Tile
from pipeline.views.inspect.anchor_panels import anchor_panels
from pipeline.views.inspect.artifact import DeclaredGraph, read_declared_graph
from pipeline.views.inspect.detection_panels import detect_panels, evaluate_panels
from pipeline.views.inspect.gt_panels import dataset_panels, resize_panels
from pipeline.views.inspect.map_panels import features_panels
from pipeline.views.inspect.proposal_panels import proposal_panels
from pipeline.views.inspect.request import PanelRequest
from pipeline.views.inspect.target_panels import target_panels

_PANELS: dict[str, Callable[[PanelRequest], list[Tile]]] = {
    "dataset": dataset_panels,
    "resize": resize_panels,
    "anchor_targets": anchor_panels,
    "proposals": proposal_panels,
    "proposal_targets": target_panels,
    "features": features_panels,
    "frozen_features": features_panels,
    "detect": detect_panels,
    "evaluate": evaluate_panels,
}


def shows_images(command: StageCommand) -> bool:
    """Whether the stage says something of single images."""
    return command.module in _PANELS


def panels_of(
    command: StageCommand,
    root: Path,
    entry: Entry,
    *,
    score: float = 0.5,
    graph: DeclaredGraph | None = None,
    params: Params | None = None,
) -> list[Tile]:
    """What a stage says of one image. One shard and one row group of each table are read, no torch.

    Args:
        command: the stage's command line.
        root: the project's folder, which the command's paths are relative to; its params.yaml gives the anchors.
        entry: the image, as `entry_of` finds it by its name.
        score: from which on detections are shown, 0..1.
        graph, params: dvc.yaml and params.yaml, where the caller has read them already.

    Returns:
        (h, w, 3) uint8 RGB images with captions and legends, in the order in which they are to be looked at.

    Raises:
        InputError: the stage is of no single images, or an artifact is missing, damaged or of another run.
    """
    make = _PANELS.get(command.module)
    if make is None:
        raise InputError(f"{command.stage} is of no single images; leave out --image")
    params = params or load_params(Path(root) / "params.yaml")
    return make(PanelRequest(command, Path(root), entry, score, graph or read_declared_graph(root), params))
