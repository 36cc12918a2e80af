"""A few images of a finished stage on one sheet: the panels of `frcnn inspect`, in brief."""

from __future__ import annotations

from pathlib import Path

from pipeline.graphs.command import StageCommand
from pipeline.params.file import load_params
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.encoding import MAX_BYTES, Picture, encode_webp
from pipeline.views.panels.entries import first_entries
from pipeline.views.panels.registry import panels_of

_ROOM = 4


def gallery(command: StageCommand, root: Path) -> Picture:
    """The first images with gt boxes, as many as there is room for, all panels of an image side by side.

    Detections are shown from `evaluate.confusion_score` on.

    Raises:
        InputError: the stage is of no single images, or an artifact is missing or damaged.
    """
    graph, params = read_declared_graph(root), load_params(root / "params.yaml")
    score = params.evaluate.confusion_score
    tiles: list[Tile] = []
    entries = first_entries(command, root, _ROOM)
    while entries and len(tiles) < _ROOM:
        tiles += panels_of(command, root, entries.pop(0), score=score, brief=True, graph=graph, params=params)
    caption = f"{command.stage}; more of these and of other images: frcnn inspect {command.stage} --image ID"
    return encode_webp(contact_sheet(tiles), caption, MAX_BYTES)
