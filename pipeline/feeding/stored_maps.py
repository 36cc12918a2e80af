"""Maps in the dtype of their file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry


def stored_dtype(name: str) -> torch.dtype:
    """Of `features.dtype`."""
    return {"float16": torch.float16, "float32": torch.float32}[name]


def as_stored(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps in the dtype of their file, still on their device."""
    return maps.float().to(dtype)


def is_finite(maps: Tensor) -> bool:
    """Whether all of them are; a NaN is the largest of all numbers here."""
    return bool(torch.isfinite(maps.abs().amax()))


def check_finite(maps: Sequence[Tensor], entries: Sequence[Entry], dtype: str) -> None:
    """Check the (B, D, Fh, Fw) map of each level, as stored, of B entries.

    Raises:
        InputError: a value is too large for `features.dtype`.
    """
    # Once for all of them: on a GPU each check waits for the device.
    if all(map(is_finite, maps)):
        return
    image_id = next(entry.image_id for entry, *own in zip(entries, *maps, strict=True) if not all(map(is_finite, own)))
    raise InputError(f"features of image {image_id} overflow {dtype}; set features.dtype to float32")
