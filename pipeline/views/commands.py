"""`frcnn results`, `report`, `compare`, `inspect` and `walk`: the commands that show what a run has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def results() -> None:
    """Print the results of the last run as a table, and where to find more."""
    from pipeline.views.results import results_table

    typer.echo(results_table(Path("data")))


def report(
    out: Annotated[Path, typer.Option(help="page to write, a .html")] = Path("report.html"),
    images: Annotated[int, typer.Option(min=1, help="how many test images to follow through all stages")] = 8,
) -> None:
    """Write one page about the run: results, graph, data, training, errors, and single images."""
    from pipeline.report.command import write_report

    typer.echo(write_report(Path.cwd(), out, images))


def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(help="folders of projects, or experiments; default: this workspace")
    ] = None,
    out: Annotated[Path, typer.Option(help="page to write, a .html")] = Path("compare.html"),
    all_networks: Annotated[
        bool, typer.Option("--all-networks", help="compare every network of a family, not only the main one")
    ] = False,
) -> None:
    """Compare detectors of all families on one data set by accuracy, time and size: a table, and a page of charts."""
    from pipeline.compare.command import compare

    compare(Path(), runs or [], out, all_networks, typer.echo)


def inspect(
    artifact: Annotated[str, typer.Argument(help="a stage, its folder in data/, or a file in it")],
    image: Annotated[str | None, typer.Option(help="draw this image: ID, ID.mirrored, ID.view2 ..., ID.drawn")] = None,
    out: Annotated[Path | None, typer.Option(help="picture to write, a .png")] = None,
    score: Annotated[float, typer.Option(help="lowest score of the detections shown")] = 0.5,
    first: Annotated[
        int | None, typer.Option(help="for an evaluate stage: list this many images with the most errors")
    ] = None,
    draw: Annotated[
        int | None,
        typer.Option(help="for a training stage, with --image: draw the anchors or RoIs sampled in this epoch, from 1"),
    ] = None,
) -> None:
    """Show an artifact: its schema and statistics, or, with --image, a picture of what it holds for one image."""
    from pipeline.views.inspect.command import inspect_artifact

    inspect_artifact(Path(), artifact, image, out, score, first, typer.echo, draw)


def walk(
    photo: Annotated[Path | None, typer.Argument(help="a photo; default: a generated one", show_default=False)] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--boxes", help="a gt box, x1,y1,x2,y2 in pixels of the photo, or a VOC annotation; may be repeated"
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="state dict of torchvision's vgg16, .pth or .safetensors; default: random weights"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for walkthrough.md and its pictures")] = Path("walk"),
) -> None:
    """Write a page that walks one photo through every stage of Faster R-CNN, with shapes, numbers and pictures."""
    from pipeline.walk.command import walk

    walk(photo, boxes or [], weights, out, typer.echo)


VERBS = (results, report, compare, inspect, walk)
