"""Single images on their way through the stages: test images, those with the most errors first, and training images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.resized_images import evaluated_images
from pipeline.artifacts.tables import read_columns
from pipeline.report.family_report import family_report
from pipeline.report.page import PageSection, Panel, Part, Shot, Slide, Slides, Text
from pipeline.report.run import Run
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import DeclaredGraph, read_declared_graph
from pipeline.views.drawing import enlarged
from pipeline.views.encoding import encode_webp
from pipeline.views.panels.registry import find_panels, panels_of
from pipeline.views.panels.request import PanelRequest
from pipeline.views.samples import NetworkImages

_TRAINING_LEAD = (
    "Three training images, and what the stages computed from them before and during training. Everything shown is "
    "read from the artifacts; frcnn inspect shows the same for any image."
)
_TEST_LEAD = (
    "One image at a time on its way through the detector, from its resized pixels to what is detected, coloured by "
    "what is wrong. The images with the most errors come first, then some from the rest down to the best."
)
_RESIZED = "What the network sees."
_TRAINING_IMAGES = 3
_THUMB = 112  # px, the longer side
_WRONG = ("missed", "wrong_class", "badly_placed", "duplicate", "background")
_WORST_SHARE = 2 / 3


def training_images_section(run: Run) -> PageSection:
    """A few training images, as far as the training has come."""
    images, own = NetworkImages(run.need("resize")), family_report(run)
    graph = read_declared_graph(run.root)
    stages = own.training_stages or _stages_of_training_images(run, graph)
    slides = []
    for entry in images.choose(["train"], _TRAINING_IMAGES):
        panels = [
            (title, panels_of(run.command(stage), run.root, entry, graph=graph, params=run.params))
            for stage, title in stages.items()
            if run.has(stage)
        ]
        slides.append(_slide(entry.image_id, "", panels))
    parts: list[Part] = [Slides(slides)]
    return PageSection("training-images", "Training images", own.lead("training-images", _TRAINING_LEAD), parts)


def _stages_of_training_images(run: Run, graph: DeclaredGraph) -> dict[str, str]:
    """Every stage that says something of single images of train, from resizing on, with its description."""
    found = {}
    for name, command in graph.commands.items():
        panels = find_panels(command, run.root, run.params)
        if panels is not None and "train" in panels.splits and command.module != "dataset":
            found[name] = _RESIZED if command.module == "resize" else f"{graph.purposes[name]}."
    return found


def journeys_section(run: Run, count: int) -> PageSection:
    """`count` images of `evaluate.split`."""
    networks = list(run.networks())
    lead = family_report(run).lead("images", _TEST_LEAD)
    if not networks:
        return PageSection("images", "Image by image", lead, [Text("Nothing is evaluated yet.", missing=True)])
    errors = errors_by_image(run, networks[-1])
    chosen = chosen_images(errors, count)
    slides = [
        _slide(image_id, _note(errors[image_id]), panels)
        for image_id, panels in zip(chosen, _journeys(run, networks, chosen), strict=True)
    ]
    parts: list[Part] = [Slides(slides)]
    return PageSection("images", "Image by image", lead, parts)


def _journeys(run: Run, networks: list[str], image_ids: list[str]) -> Iterator[list[tuple[str, list[Tile]]]]:
    graph, own = read_declared_graph(run.root), family_report(run)
    before = own.before_detection(run) if own.before_detection else None
    score = run.params.evaluate.confusion_score
    for image_id in image_ids:
        entry = Entry(image_id)
        request = PanelRequest(run.command("resize"), run.root, entry, score, graph, run.params)
        journey = [(_RESIZED, panels_of(request.command, run.root, entry, graph=graph, params=run.params))]
        journey += before(request) if before else []
        for name in networks:
            command = run.command(f"detect_{name}")
            tiles = panels_of(command, run.root, entry, score=score, graph=graph, params=run.params)
            # What leads to the detections is shown of one network, of the others what they detect.
            about = run.family.networks[name].about
            journey.append((about, tiles if name == networks[-1] else tiles[-2:]))
        yield journey


def errors_by_image(run: Run, network: str) -> dict[str, Counter[str]]:
    """Every judged image with its errors by kind, of detections that `evaluate.confusion_score` takes in."""
    score = run.params.evaluate.confusion_score
    errors: dict[str, Counter[str]] = {
        image.image_id: Counter() for image in evaluated_images(run.need("resize"), run.params.evaluate.split)
    }
    columns = ["image_id", "kind", "score", "gt"]
    rows = read_columns(run.need(f"evaluate_{network}") / "matches.parquet", MATCHES, columns)
    # A box that only a detection below the score finds is missed, as one that none finds.
    lost = (rows["kind"] == "correct") & (rows["score"] < score)
    kinds = np.where(lost, "missed", rows["kind"])
    keep = (rows["score"] >= score) | (kinds == "missed")
    for image_id, kind in zip(rows["image_id"][keep], kinds[keep], strict=True):
        errors[str(image_id)][str(kind)] += 1
    return errors


def chosen_images(errors: dict[str, Counter[str]], count: int) -> list[str]:
    """Two thirds of them the worst, the rest spread evenly over the others, worst first."""
    order = sorted(errors, key=lambda image_id: (-sum(errors[image_id][kind] for kind in _WRONG), image_id))
    worst = order[: max(1, round(count * _WORST_SHARE))]
    rest = order[len(worst) :]
    more = min(count - len(worst), len(rest))
    return worst + [rest[i] for i in np.linspace(0, len(rest) - 1, more).round().astype(int)] if more > 0 else worst


def _note(errors: Counter[str]) -> str:
    counts = [f"{errors[kind]} {kind.replace('_', ' ')}" for kind in (*_WRONG, "correct") if errors[kind]]
    return ", ".join(counts) or "no object, and none detected"


def _slide(name: str, note: str, panels: Sequence[tuple[str, Sequence[Tile]]]) -> Slide:
    """A picture for each tile; OpenCV encodes several at a time."""
    tiles = [tile for _, own in panels for tile in own]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = pool.map(lambda tile: encode_webp(tile.image, tile.caption), tiles)
        shots = iter([Shot(own, tile.legend, tile.spots, tile.wide) for own, tile in zip(pictures, tiles, strict=True)])
    thumb = encode_webp(enlarged(tiles[0].image, _THUMB)[0], name)
    return Slide(name, note, thumb, [Panel(title, [next(shots) for _ in own]) for title, own in panels])
