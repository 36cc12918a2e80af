"""Saves a batch whose loss is not finite, for inspection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from pipeline.artifacts.atomic import atomic_file

if TYPE_CHECKING:
    from pipeline.training.batch import Batch


def save_batch(folder: Path, stage: str, iteration: int, batch: Batch) -> Path:
    """Write FOLDER/STAGE-ITERATION.safetensors: every tensor of the batch by its place in it, such as
    `views.images` or `anchors.0.deltas`, and in the header the images, their (H, W) and the seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage}-{iteration}.safetensors"
    metadata = {
        "images": json.dumps([list(entry) for entry in batch.views.entries]),
        "sizes": json.dumps(batch.views.sizes),
        "seeds": json.dumps(batch.seeds),
    }
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _tensors(batch, "")}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
    return path


def _tensors(value: Any, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield place, value
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name), f"{place}.{part.name}" if place else part.name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{place}.{index}")
