"""Starts the head of a dense detector from that of a trained one, as stage `backbone` stored it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.artifacts.classes import read_detector_classes
from pipeline.artifacts.weights import load_part, misfit, restore_fitting
from pipeline.datasets.same_class import rows_of_classes
from pipeline.dense.building import new_head, with_training_state
from pipeline.params.initial import InitParams
from pipeline.params.reading import Params

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.artifacts.weights import State
    from pipeline.dense.contract import DetectPart
    from pipeline.dense.head import DenseHead
    from pipeline.geometry.layout import MapLayout

_ANY_NUMBER = 1 << 31
"""More detections than an image can have."""


def take_head(head: DenseHead, backbone: Path, classes: Sequence[str]) -> list[str]:
    """Start a head's layers from those of the detector in data/backbone, as far as names and shapes are equal, and its
    class layers (`DenseHead.class_layers`) from the rows of the classes that both have.

    Args:
        head: one that starts training; what has no counterpart stays as it is.
        backbone: what stage `backbone` wrote. classes: of the head, the background first.

    Returns:
        Lines for a log; none where no detector is there.
    """
    theirs = load_part(backbone, "head", optional=True)
    if theirs.keys().isdisjoint(head.state_dict()):
        return []
    # Class layers of equal shapes may be of other classes.
    of_classes = tuple(f"{layer}." for layer in head.class_layers)
    restore_fitting(head, {name: own for name, own in theirs.items() if not name.startswith(of_classes)})
    known = read_detector_classes(backbone)
    if known is None:
        return []
    rows = rows_of_classes(classes, known)
    fault = _take_rows(head, theirs, rows, len(known))
    if fault is not None:
        return [f"class rows: none starts from the detector's: {fault}"]
    return [f"class rows: {len(rows) - 1} of {len(classes) - 1} classes start from the detector's"]


def _take_rows(head: DenseHead, theirs: State, rows: Sequence[tuple[int, int]], their_count: int) -> str | None:
    """Copy the class layers' rows of (our label, their label); why not, where layers do not fit."""
    assert head.num_classes is not None
    first = 0 if head.background_row else 1
    pairs = [(ours - first, own - first) for ours, own in rows if ours >= first]
    ours, own = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
    state = head.state_dict()
    found: list[tuple[Tensor, Tensor]] = []
    for layer, per_cell in head.class_layers.items():
        for kind in ("weight", "bias"):
            name = f"{layer}.{kind}"
            target, source = state[name], theirs.get(name)
            if source is None:
                return f"it has no {name}"
            wanted = (per_cell * (their_count - first), *target.shape[1:])
            if source.shape != wanted:
                return f"its {name} has shape {tuple(source.shape)}, not {wanted}"
            found.append((target.unflatten(0, (per_cell, -1)), source.unflatten(0, (per_cell, -1))))
    with torch.no_grad():
        for target, source in found:
            target[:, ours] = source[:, own]
    return None


def why_absent(init: InitParams, part: DetectPart, layout: MapLayout, params: Params, folder: Path) -> str | None:
    """Why the detector that training starts from cannot be run as it is; None where it can.

    Args:
        folder: what stage `backbone` wrote.
    """
    if init.detector == "none":
        return "training starts from no detector (init.detector: none)"
    known = read_detector_classes(folder)
    if known is None:
        return "data/initial_detector has no head whose classes are known (init.classes can name them)"
    # Training takes what fits, and draws the rest.
    head = new_head(part, layout, len(known), params)
    fault = misfit(head, with_training_state(head, load_part(folder, "head")))
    return None if fault is None else f"data/initial_detector has another head than params.yaml: {fault}"


def without_limit(params: Params, part: DetectPart) -> tuple[Params, int | None]:
    """Parameters that let an image have any number of detections, as those of classes that the data set lacks must not
    take the places of others; and the limit, None where the part has none."""
    sections, limit = params.sections(), None
    for name in part.SECTIONS:
        own = getattr(sections.get(name), "per_image", None)
        if own is not None:
            limit, sections[name] = own, sections[name].model_copy(update={"per_image": _ANY_NUMBER})
    return Params(sections), limit
