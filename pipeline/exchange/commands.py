"""`frcnn proposals VERB`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Proposal files for other codebases.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Proposal files for other codebases. To train on theirs, give proposals.file=PATH to frcnn preset."""


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="file to write, e.g. proposals.pkl")],
    source: Annotated[Path, typer.Option("--from", help="folder of a proposals or detect stage")] = Path(
        "data/proposals_step3"
    ),
    layout: Annotated[
        str,
        typer.Option("--format", help="detectron2, mmdetection (version 3) or mmdetection2 (a list in image order)"),
    ] = "detectron2",
    resize: Annotated[Path, typer.Option(help="folder of the resize stage")] = Path("data/resize"),
    dataset: Annotated[Path, typer.Option(help="folder of the dataset stage")] = Path("data/dataset"),
    split: Annotated[
        str | None,
        typer.Option(help="train, val or test; default: the first of train, test and val that has proposals"),
    ] = None,
) -> None:
    """Write our proposals, in pixels of the original images, as a file that detectron2 or mmdetection loads."""
    from pipeline.exchange.exporting import check_proposes, export_proposals

    check_proposes(Path.cwd(), source)
    typer.echo(export_proposals(source, resize, dataset, layout, out, split))
