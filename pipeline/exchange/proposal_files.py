"""The proposal files of detectron2 and mmdetection: pickles of boxes and scores per image, in original pixels.

| layout | content of the pickle |
|---|---|
| detectron2 | dict of lists: `ids`, `boxes` (N, 4), `objectness_logits` (N,), and `bbox_mode`, 0 for xyxy, 1 for xywh |
| mmdetection | version 3: dict from `FOLDER/FILE` to a dict (or InstanceData) of `bboxes` (N, 4) and `scores` (N,) |
| mmdetection2 | version 2: list of (N, 4) or (N, 5) arrays in the order of the data set, the fifth column the score |

Scores are probabilities here and in mmdetection, logits in detectron2. Detectron's first version wrote `indexes` and
`scores` (probabilities) in place of `ids` and `objectness_logits`; both are read.

Source: detectron2/data/build.py (`load_proposals_into_dataset`), detectron2/evaluation/coco_evaluation.py;
mmdet/datasets/custom.py (2.x), mmdet/datasets/base_det_dataset.py, mmdet/evaluation/metrics/dump_proposals_metric.py.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.atomic import atomic_file
from pipeline.exchange.unpickle import read_plain_pickle
from pipeline.runtime.errors import InputError

LAYOUTS = ("detectron2", "mmdetection", "mmdetection2")
# A float32 probability of 0 or 1 has no finite logit. From 104 on, and back, it is 0 or 1 in float32.
MOST_LOGIT = 104.0
_MOST_PIXELS = 1e7
_XYXY, _XYWH = 0, 1


@dataclass(frozen=True)
class Proposals:
    """Proposals of one image, the best first: `boxes` (N, 4) float32 xyxy, `scores` (N,) float32 in 0..1."""

    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class ProposalFile:
    """What a file holds: its layout, one entry per image, and the images' names; None where the file has none."""

    layout: str
    entries: list[Proposals]
    names: list[str] | None


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """(N,) probabilities to (N,) float32 logits, finite: 0 and 1 become -104 and 104."""
    exact = np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(exact) - np.log1p(-exact)
    return np.clip(logits, -MOST_LOGIT, MOST_LOGIT).astype(np.float32)


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """(N,) logits to (N,) float32 probabilities; the inverse of `to_logits`, to a relative 1e-5."""
    exact = np.clip(np.asarray(logits, dtype=np.float64), -MOST_LOGIT, MOST_LOGIT)
    return (1 / (1 + np.exp(-exact))).astype(np.float32)


def write_proposal_file(path: Path, layout: str, names: Sequence[str], entries: Sequence[Proposals]) -> None:
    """Write proposals, atomically; NumPy 1 and 2 can both load the file.

    Args:
        path: the file to write.
        layout: one of LAYOUTS.
        names: an id or, for mmdetection, `FOLDER/FILE` for each image; mmdetection2 keeps their order only.
        entries: an image each, boxes in pixels of the original image.
    """
    boxes = [np.ascontiguousarray(entry.boxes, dtype=np.float32).reshape(-1, 4) for entry in entries]
    scores = [np.ascontiguousarray(entry.scores, dtype=np.float32) for entry in entries]
    content: Any
    if layout == "detectron2":
        logits = [to_logits(own) for own in scores]
        content = {"ids": list(names), "boxes": boxes, "objectness_logits": logits, "bbox_mode": _XYXY}
    elif layout == "mmdetection":
        content = {n: {"bboxes": b, "scores": s} for n, b, s in zip(names, boxes, scores, strict=True)}
    else:
        content = [np.concatenate([b, s[:, None]], axis=1) for b, s in zip(boxes, scores, strict=True)]
    data = _with_numpy_1_names(pickle.dumps(content, protocol=3))
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        for part in data:
            file.write(part)


def _with_numpy_1_names(data: bytes) -> list[bytes | memoryview]:
    """The parts of a protocol 3 pickle of arrays in which `numpy._core`, unknown before NumPy 1.26, is `numpy.core`."""
    new, old = (f"cnumpy.{core}.multiarray\n".encode() for core in ("_core", "core"))
    # The name stands once, before the first array; later ones refer to it.
    for opcode, argument, position in pickletools.genops(io.BytesIO(data)):
        if opcode.name == "GLOBAL" and str(argument).startswith("numpy._core.multiarray ") and position is not None:
            return [data[:position], old, memoryview(data)[position + len(new) :]]
    return [data]


def read_proposal_file(path: Path) -> ProposalFile:
    """Read a proposal file of any of LAYOUTS, which is known by its content.

    Raises:
        InputError: no readable pickle of plain data, of none of the layouts, or an array that cannot be what it should
            be: a wrong shape, numbers that are not finite, scores that are not probabilities.
    """
    path = Path(path)
    content = read_plain_pickle(path)
    if isinstance(content, dict) and "boxes" in content:
        return _read_detectron2(path, content)
    if isinstance(content, dict) and content and all(isinstance(entry, dict) for entry in content.values()):
        names = [str(name) for name in content]
        entries = [
            _entry(path, name, fields.get("bboxes"), fields.get("scores"))
            for name, fields in zip(names, content.values(), strict=True)
        ]
        return ProposalFile("mmdetection", entries, names)
    if isinstance(content, list) and all(isinstance(rows, np.ndarray) for rows in content):
        entries = []
        for index, rows in enumerate(content):
            if rows.ndim != 2 or rows.shape[1] not in (4, 5):
                raise InputError(f"{path}: entry {index} has shape {rows.shape}, (N, 4) or (N, 5) is needed; fix it")
            entries.append(_entry(path, str(index), rows[:, :4], rows[:, 4] if rows.shape[1] == 5 else None))
        return ProposalFile("mmdetection2", entries, None)
    raise InputError(
        f"{path}: is not a proposal file of {', '.join(LAYOUTS)}; it needs boxes, ids and objectness_logits, "
        "bboxes and scores under each file name, or a list of arrays"
    )


def _read_detectron2(path: Path, content: dict[Any, Any]) -> ProposalFile:
    columns = {}
    for key, older in (("ids", "indexes"), ("boxes", "boxes"), ("objectness_logits", "scores")):
        values = content.get(key, content.get(older))
        if isinstance(values, np.ndarray) and key == "ids":
            values = values.tolist()
        if not isinstance(values, list):
            raise InputError(f"{path}: {key!r} is missing or no list; detectron2's layout needs it")
        columns[key] = values
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: its lists have different lengths ({lengths}); each needs one entry an image")
    if not all(isinstance(name, str | int) for name in columns["ids"]):
        raise InputError(f"{path}: 'ids' holds something that is neither a string nor a whole number; fix the file")
    mode = content.get("bbox_mode", _XYXY)
    if not isinstance(mode, int) or mode not in (_XYXY, _XYWH):
        raise InputError(f"{path}: bbox_mode is {mode!r}; 0 (xyxy) and 1 (xywh), in pixels, are read")
    names = [str(name) for name in columns["ids"]]
    logits = "objectness_logits" in content
    entries = [
        _entry(path, name, boxes, scores, xywh=mode == _XYWH, logits=logits)
        for name, boxes, scores in zip(names, columns["boxes"], columns["objectness_logits"], strict=True)
    ]
    return ProposalFile("detectron2", entries, names)


def _entry(path: Path, name: str, boxes: Any, scores: Any, *, xywh: bool = False, logits: bool = False) -> Proposals:
    """One image's proposals, checked, sorted and with probabilities; without scores, the given order is the rank."""
    where = f"{path}: image {name!r}"
    if not isinstance(boxes, np.ndarray) or not (boxes.size == 0 or (boxes.ndim == 2 and boxes.shape[1] == 4)):
        shape = getattr(boxes, "shape", None)
        raise InputError(f"{where}: its boxes have shape {shape}, an array (N, 4) is needed; fix the file")
    boxes = boxes.reshape(-1, 4).astype(np.float64)
    if scores is None:
        scores = np.ones(len(boxes))
    if not isinstance(scores, np.ndarray) or scores.size != len(boxes):
        raise InputError(f"{where}: {len(boxes)} boxes and {np.size(scores)} scores; fix the file")
    scores = scores.reshape(-1).astype(np.float64)
    # An infinite logit is a saturated one; nothing else may be infinite, nor so large that float32 loses its pixels.
    if not (np.abs(boxes) < _MOST_PIXELS).all() or np.isnan(scores).any():
        raise InputError(f"{where}: has boxes or scores that are not finite or too large; remove them from the file")
    if not logits and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise InputError(f"{where}: has scores outside 0..1; give probabilities, or logits in detectron2's layout")
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    if xywh:
        boxes[:, 2:] += boxes[:, :2]
    probabilities = to_probabilities(scores) if logits else scores.astype(np.float32)
    return Proposals(boxes.astype(np.float32), probabilities)
