"""Single images on their way through all stages, those with the most errors first."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.stores import judged_images
from pipeline.artifacts.tables import read_columns
from pipeline.report.page import Part, Section, Slide, Slides, Text
from pipeline.report.run import Run
from pipeline.views.encoding import Picture
from pipeline.views.pictures import picture_of

_LEAD = (
    "One image at a time, as the detector sees it: resized; where the RPN believes an object to be; its proposals; "
    "what the heads make of them. The images with the most errors come first, then some from the middle, then some "
    "of the best."
)
_WRONG = ("missed", "wrong_class", "badly_placed", "duplicate", "background")
_WORST_SHARE = 2 / 3


def journeys_section(run: Run, count: int) -> Section:
    """`count` images of `evaluate.split`."""
    networks = list(run.networks())
    if not networks:
        return Section("images", "Image by image", _LEAD, [Text("Nothing is evaluated yet.", missing=True)])
    network = networks[-1]
    errors = errors_by_image(run, network)
    slides = [
        Slide(image_id, _note(errors[image_id]), _pictures(run, image_id)) for image_id in chosen_images(errors, count)
    ]
    parts: list[Part] = [Slides(slides)]
    return Section("images", "Image by image", _LEAD, parts)


def errors_by_image(run: Run, network: str) -> dict[str, Counter[str]]:
    """Every judged image with its errors by kind, of detections that `evaluate.confusion_score` takes in."""
    score = run.params.evaluate.confusion_score
    errors: dict[str, Counter[str]] = {
        image.image_id: Counter() for image in judged_images(run.need("resize"), run.params.evaluate.split)
    }
    columns = ["image_id", "kind", "score", "gt"]
    rows = read_columns(run.need(f"evaluate_{network}") / "matches.parquet", schemas.MATCHES, columns)
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
    return worst + [rest[i] for i in np.linspace(0, len(rest) - 1, more).round().astype(int)] if more else worst


def _note(errors: Counter[str]) -> str:
    told = [f"{errors[kind]} {kind.replace('_', ' ')}" for kind in (*_WRONG, "correct") if errors[kind]]
    return ", ".join(told) or "no object, and none detected"


def _pictures(run: Run, image_id: str) -> list[Picture]:
    stages = ["resize", *[f"detect_{name}" for name in run.networks()]]
    pictures = [picture_of(run.command(stage), run.root, [image_id]) for stage in stages]
    return [picture for picture in pictures if picture is not None]
