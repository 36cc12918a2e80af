"""`frcnn inspect --draw`: the sample that a training stage drew from an image in an epoch."""

from __future__ import annotations

from pathlib import Path

from pipeline.graphs.command import StageCommand
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import DeclaredGraph
from pipeline.views.outdated import outdated
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import find_drawn
from pipeline.views.panels.request import PanelRequest


def sample_tiles(graph: DeclaredGraph, command: StageCommand, root: Path, image: str, epoch: int) -> list[Tile]:
    """Pictures of the anchors or RoIs that a training stage drew.

    Args:
        command: the training stage's. image: the name of one of its images. epoch: counted from 1.

    Raises:
        InputError: the stage draws no such sample, has no such image or epoch, or does not train on the image in it.
    """
    params = load_params(root / "params.yaml")
    drawn = find_drawn(command, root, params)
    if drawn is None:
        drawing = [name for name, own in graph.commands.items() if find_drawn(own, root, params) is not None]
        among = f"; give one of {', '.join(drawing)}" if drawing else ", and no stage of this graph does"
        raise InputError(f"--draw {epoch}: {command.stage} draws no sample of anchors or RoIs{among}")
    if epoch < 1:
        raise InputError(f"--draw {epoch}: epochs are counted from 1")
    folder = command.input(drawn.option)
    targets = next((own for own in graph.commands.values() if own.out == folder), None)
    if targets is None:
        raise InputError(f"{folder}: no stage of dvc.yaml writes it; run frcnn graph")
    entry = entry_of(targets, root, image)
    if entry.mirrored and not params.base.mirror:
        raise InputError(f"{image}: base.mirror is false, so {command.stage} sees no mirrored images")
    return drawn.draw(PanelRequest(targets, root, entry, 0.0, graph, params), command.stage, epoch - 1)


def sample_note(command: StageCommand, root: Path) -> str | None:
    """Why the sample may not be the one that was trained on, where dvc.lock and params.yaml speak against it."""
    reason = outdated(root, command.stage)
    return f"note: {command.stage} may have drawn another sample: {reason}" if reason else None
