"""Which stages can be drawn image by image, for which images, and what is drawn.

Stages that families share have their panels here; those of a family's own stages are in its part `panels`, a mapping
`PANELS` from the stage's module to its `ImagePanels`, which goes before the one here.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.image_views import Entry
from pipeline.datasets.base import SPLITS
from pipeline.graphs.command import StageCommand
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import DeclaredGraph, read_declared_graph
from pipeline.views.family_part import listed
from pipeline.views.panels.dense import dense_target_panels, detect_dense_panels
from pipeline.views.panels.detections import evaluate_panels
from pipeline.views.panels.gt import dataset_panels, resize_panels
from pipeline.views.panels.image_panels import HELD_OUT, DrawnSample, ImagePanels
from pipeline.views.panels.maps import features_panels, frozen_panels
from pipeline.views.panels.request import PanelRequest

_COMMON = {
    "dataset": ImagePanels(dataset_panels, SPLITS, plain=True),
    "resize": ImagePanels(resize_panels, SPLITS),
    "features": ImagePanels(features_panels),
    "frozen_features": ImagePanels(frozen_panels),
    "dense_targets": ImagePanels(dense_target_panels),
    "detect_dense": ImagePanels(detect_dense_panels, HELD_OUT, plain=True),
    "evaluate": ImagePanels(evaluate_panels, HELD_OUT, plain=True),
}


def find_panels(command: StageCommand, root: Path, params: Params | None = None) -> ImagePanels | None:
    """How the stage's images are drawn; None where it says nothing of single images.

    Args:
        command: the stage's command line.
        root: the project's folder.
        params: params.yaml, where the caller has read it already.
    """
    own: ImagePanels | None = listed(command, root, "panels", "PANELS", params)
    return own or _COMMON.get(command.module)


def find_drawn(command: StageCommand, root: Path, params: Params | None = None) -> DrawnSample | None:
    """How the samples that a training stage drew are drawn; None where it draws none, or where its family lists none.

    Args:
        command, root, params: as for `find_panels`.
    """
    own: DrawnSample | None = listed(command, root, "panels", "DRAWN", params)
    return own


def image_panels(command: StageCommand, root: Path, params: Params | None = None) -> ImagePanels:
    """The same of a stage that has to have some.

    Raises:
        InputError: it is of no single images.
    """
    panels = find_panels(command, root, params)
    if panels is None and find_drawn(command, root, params) is not None:
        raise InputError(
            f"{command.stage} is not about single images; add --draw EPOCH for what it drew from this one, or leave "
            "out --image and give --out FILE.png"
        )
    if panels is None:
        raise InputError(f"{command.stage} is not about single images; leave out --image and give --out FILE.png")
    return panels


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
    graph, params = graph or read_declared_graph(root), params or load_params(Path(root) / "params.yaml")
    draw = image_panels(command, root, params).draw
    return draw(PanelRequest(command, Path(root), entry, score, graph, params, brief))
