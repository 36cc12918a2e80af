"""An image as it is seen, plain or mirrored; mirrors share the stored pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Entry(NamedTuple):
    """An image, plain or mirrored."""

    image_id: str
    mirrored: bool

    @property
    def seed_key(self) -> tuple[str, int]:
        """What seeds take: the image, and its view as an integer, 0 plain and 1 mirrored."""
        return self.image_id, int(self.mirrored)

    @property
    def columns(self) -> dict[str, str | bool]:
        """What says in a table which entry a row is of."""
        return {"image_id": self.image_id, "mirrored": self.mirrored}


def seen_boxes(boxes: np.ndarray, entry: Entry, width: float) -> np.ndarray:
    """(N, 4) boxes of the plain image of `width` px as they lie in the image as the entry sees it."""
    if not entry.mirrored:
        return boxes
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
