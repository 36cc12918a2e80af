"""`frcnn inspect`: an artifact as text, or what it holds for one image as a picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.atomic import atomic_file
from pipeline.datasets.file_names import shortened_name
from pipeline.graphs.command import StageCommand
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.views.declared_graph import DeclaredGraph, read_declared_graph
from pipeline.views.inspect.artifact import Artifact, find_artifact
from pipeline.views.inspect.code_summary import code_lines
from pipeline.views.inspect.summary import summary_lines

if TYPE_CHECKING:
    from pipeline.views.contact_sheet import Tile

_COMPRESSION = 3  # of 9: a third of the time for a tenth more bytes


def inspect_artifact(
    root: Path,
    name: str,
    image: str | None,
    out: Path | None,
    score: float,
    first: int | None,
    echo: Callable[[str], None],
    draw: int | None = None,
) -> None:
    """Summarise an artifact, or draw what it holds on one image.

    Args:
        root: the project's folder.
        name: a stage, its folder, or a file in it.
        image: `ID`, `ID.mirrored`, `ID.view2` and so on, or `ID.drawn`; None for the text.
        out: the PNG file to write; None for inspect-STAGE-ID.png in the working directory.
        score: least score of the detections shown, 0..1.
        first: of an evaluate stage: list so many of the images with the most errors.
        echo: takes each line.
        draw: of a training stage: draw the anchors or RoIs that it took from the image in this epoch, counted from 1.

    Raises:
        InputError: there is no such artifact or image, a file is damaged, or an option does not fit the stage.
    """
    if not 0 <= score <= 1:
        raise InputError(f"--score {score:g}: give a number from 0 to 1")
    if out is not None and (out.suffix.lower() != ".png" or not out.parent.is_dir() or out.is_dir()):
        raise InputError(f"--out {out}: give a file name that ends in .png, in an existing folder")
    if (lines := code_lines(root, name)) is not None:
        if image is not None or out is not None or first is not None or draw is not None:
            raise InputError("code is not about images; leave out all options")
        for line in lines:
            echo(line)
        return
    graph = read_declared_graph(root)
    artifact = find_artifact(graph, root, name)
    command = artifact.command
    if draw is not None and (image is None or first is not None):
        raise InputError(f"--draw {draw}: name the image with --image, and leave out --first")
    if first is not None:
        _list_worst(artifact, root, image, score, first, echo)
        return
    if image is None and out is None:
        for line in summary_lines(artifact, root):
            echo(line)
        return
    if image is None:
        from pipeline.views.panels.registry import find_panels

        if find_panels(command, root) is not None:
            raise InputError(f"--out {out}: name the image to draw with --image")
        data = _plain_picture(command, root)
    else:
        from pipeline.views.contact_sheet import contact_sheet
        from pipeline.views.encoding import encode_png

        tiles = _tiles(graph, command, root, image, score, draw)
        sheet = contact_sheet(tiles, title=f"{command.stage}: {artifact.purpose}")
        data = encode_png(sheet, command.stage, _COMPRESSION).data
    name = shortened_name(re.sub(r"[^A-Za-z0-9_.-]", "_", image or ""))
    if draw is not None:
        name += f"-epoch-{draw}"
    place = out or Path(f"inspect-{command.stage}-{name}.png")
    try:
        with atomic_file(place) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise InputError(f"--out {place}: cannot be written ({error.strerror}); give another place") from error
    if draw is not None:
        from pipeline.views.inspect.drawn import sample_note

        if note := sample_note(command, root):
            echo(note)
    echo(f"picture: {place}")


def _tiles(
    graph: DeclaredGraph, command: StageCommand, root: Path, image: str, score: float, draw: int | None
) -> list[Tile]:
    if draw is not None:
        from pipeline.views.inspect.drawn import sample_tiles

        return sample_tiles(graph, command, root, image, draw)
    from pipeline.views.panels.entries import entry_of
    from pipeline.views.panels.registry import panels_of

    entry = entry_of(command, root, image)
    if entry.mirrored and not load_params(root / "params.yaml", ["base"]).base.mirror:
        raise InputError(f"{image}: base.mirror is false, so that {command.stage} has no mirrors")
    return panels_of(command, root, entry, score=score, graph=graph)


def _list_worst(
    artifact: Artifact, root: Path, image: str | None, score: float, first: int, echo: Callable[[str], None]
) -> None:
    from pipeline.views.inspect.worst import worst_lines

    command = artifact.command
    if command.module != "evaluate" or image is not None or first < 1:
        raise InputError("--first lists images of an evaluate stage: give it a number from 1, and no --image")
    for line in worst_lines(root / command.out, score, first):
        echo(line)


def _plain_picture(command: StageCommand, root: Path) -> bytes:
    """The picture of a stage that is not about single images: losses, or first filters."""
    from pipeline.views.pictures import picture_of

    picture = picture_of(command, root)
    if picture is None:
        raise InputError(f"{command.stage}: has no picture; leave out --out")
    return picture.data
