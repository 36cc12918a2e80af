"""Checks that a family's detections can be evaluated.

Shapes: C classes, background included; N detections.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.dense.checks import kind_of
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.runtime.errors import InputError


def check_detections(found: Any, num_classes: int | None, source: str) -> None:
    """Whether a family's decoder gave detections for C classes.

    Args:
        num_classes: C; None where it is not known.
        source: the decoder's module.

    Raises:
        InputError: it did not.
    """
    fault = _fault_of_detections(found, num_classes)
    if fault:
        raise InputError(f"{source}: decode gave {fault}")


def _fault_of_detections(found: Any, num_classes: int | None) -> str:
    if not isinstance(found, DetectedBoxes):
        return f"{kind_of(found)}; give DetectedBoxes"
    for name, dtype in (("boxes", torch.float32), ("scores", torch.float32), ("labels", torch.int64)):
        own = getattr(found, name)
        if not isinstance(own, Tensor) or own.dtype != dtype:
            return f"{name} of {own.dtype if isinstance(own, Tensor) else kind_of(own)}; give {dtype}"
    count = len(found.boxes) if found.boxes.ndim else 0
    if found.boxes.shape != (count, 4) or found.scores.shape != (count,) or found.labels.shape != (count,):
        shapes = ", ".join(str(tuple(own.shape)) for own in (found.boxes, found.scores, found.labels))
        return f"boxes, scores and labels of shapes {shapes}; give (N, 4), (N,) and (N,)"
    if not count:
        return ""
    scores, last = found.scores, torch.iinfo(torch.int64).max if num_classes is None else num_classes - 1
    wrong = [
        (~found.boxes.isfinite().all(), "boxes that are not finite"),
        (~((scores >= 0) & (scores <= 1)).all(), "scores outside of 0 to 1"),
        ((scores.diff() > 0).any(), "scores that do not fall; give the best first"),
        ((found.labels < 1).any() | (found.labels > last).any(), ""),
    ]
    flags = torch.stack([flag for flag, _ in wrong]).tolist()  # a GPU is asked once
    if flags[-1]:
        end = "on" if num_classes is None else f"to {num_classes - 1}"
        return f"labels {int(found.labels.min())} to {int(found.labels.max())}; give 1 {end}"
    return next((text for flag, (_, text) in zip(flags, wrong, strict=True) if flag), "")
