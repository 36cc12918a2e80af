"""Single images on their way through the stages: test images, those with the most errors first, and training images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.resized_images import evaluated_images
from pipeline.artifacts.tables import read_columns
from pipeline.families.registry import present_family
from pipeline.report.page import PageSection, Part, Slide, Slides, Text
from pipeline.report.run import Run
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.encoding import Picture, encode_webp
from pipeline.views.panels.anchors import assignment_panels
from pipeline.views.panels.maps import channel_panels
from pipeline.views.panels.registry import panels_of
from pipeline.views.panels.request import PanelRequest
from pipeline.views.samples import NetworkImages

_TRAINING_LEAD = (
    "Three training images, and what the stages made of them before and while the network learnt. All that is shown "
    "is read from the artifacts; frcnn inspect shows it of any image."
)
_TEST_LEAD = (
    "One image at a time on its way through the detector: resized; its anchors; the feature maps; where the RPN sees "
    "objects; its proposals; what the heads make of them, coloured by what is wrong. The images with the most errors "
    "come first, then some from the rest down to the best."
)
_OF_TRAINING = {
    "resize": "What the network sees.",
    "anchor_targets": "Anchor targets. An anchor near a gt box is fg: it learns to say object and to move onto the "
    "box; one far from all boxes learns to say no object; the rest are ignored.",
    "features": "The feature maps of the trunk, which RPN and head both read.",
    "proposals_step3": "Where the RPN sees objects, and its best proposals.",
    "proposal_targets_step4": "Which proposals the head learns as which class, and where it is to move them.",
}
_TRAINING_IMAGES = 3
_WRONG = ("missed", "wrong_class", "badly_placed", "duplicate", "background")
_WORST_SHARE = 2 / 3


def training_images_section(run: Run) -> PageSection:
    """A few training images, as far as the training has come."""
    images = NetworkImages(run.need("resize"))
    graph = read_declared_graph(run.root)
    slides = []
    for entry in images.choose(["train"], _TRAINING_IMAGES):
        panels = [
            (title, panels_of(run.command(stage), run.root, entry, graph=graph, params=run.params))
            for stage, title in _OF_TRAINING.items()
            if run.has(stage)
        ]
        slides.append(Slide(entry.image_id, "", _pictures(panels)))
    parts: list[Part] = [Slides(slides)]
    return PageSection("training-images", "Training images", _TRAINING_LEAD, parts)


def journeys_section(run: Run, count: int) -> PageSection:
    """`count` images of `evaluate.split`."""
    networks = list(run.networks())
    if not networks:
        return PageSection("images", "Image by image", _TEST_LEAD, [Text("Nothing is evaluated yet.", missing=True)])
    errors = errors_by_image(run, networks[-1])
    chosen = chosen_images(errors, count)
    slides = [
        Slide(image_id, _note(errors[image_id]), _pictures(panels))
        for image_id, panels in zip(chosen, _journeys(run, networks, chosen), strict=True)
    ]
    parts: list[Part] = [Slides(slides)]
    return PageSection("images", "Image by image", _TEST_LEAD, parts)


def _journeys(run: Run, networks: list[str], image_ids: list[str]) -> Iterator[list[tuple[str, list[Tile]]]]:
    # Imported here: torch is needed for what is not stored of test images, and takes longer than all other pages.
    from pipeline.report.recomputed import Recomputed

    graph, recomputed = read_declared_graph(run.root), Recomputed(run, "train_head_step2")
    score = run.params.evaluate.confusion_score
    for image_id in image_ids:
        entry = Entry(image_id)
        request = PanelRequest(run.command("resize"), run.root, entry, score, graph, run.params)
        journey = [
            (_OF_TRAINING["resize"], panels_of(run.command("resize"), run.root, entry, graph=graph, params=run.params)),
            (
                "Anchors, and which of them would be fg if this were a training image.",
                assignment_panels(request, recomputed.assignment(entry), counts=False),
            ),
            (_OF_TRAINING["features"], channel_panels(request, recomputed.feature_maps(entry))),
        ]
        for name in networks:
            command = run.command(f"detect_{name}")
            tiles = panels_of(command, run.root, entry, score=score, graph=graph, params=run.params)
            # Where the RPN looks and what it proposes is shown of one network, of the others what they detect.
            about = present_family(run.root).networks[name].about
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
    """Two thirds the worst, the rest evenly from what is left, worst first."""
    order = sorted(errors, key=lambda image_id: (-sum(errors[image_id][kind] for kind in _WRONG), image_id))
    worst = order[: max(1, round(count * _WORST_SHARE))]
    rest = order[len(worst) :]
    more = min(count - len(worst), len(rest))
    return worst + [rest[i] for i in np.linspace(0, len(rest) - 1, more).round().astype(int)] if more > 0 else worst


def _note(errors: Counter[str]) -> str:
    counts = [f"{errors[kind]} {kind.replace('_', ' ')}" for kind in (*_WRONG, "correct") if errors[kind]]
    return ", ".join(counts) or "no object, and none detected"


def _pictures(panels: Iterable[tuple[str, list[Tile]]]) -> list[Picture]:
    """A picture a stage; OpenCV encodes several at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda pair: encode_webp(contact_sheet(pair[1]), pair[0]), panels))
