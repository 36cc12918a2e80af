"""What each view of an image is, for everything that uses views: stages, samplers, pictures.

| view | name | seen |
|---|---|---|
| 0 | ID | as resized |
| 1 | ID.mirrored | mirrored left to right |
| 2, 3 | ID.view2, ID.view3 | at the first of `resize.extra_sides`, and that mirrored |
| 4, 5, ... | ID.view4, ... | at the others, likewise |
| 127 | ID.drawn | as the first epoch draws it, where training draws its images anew (`pipeline.augment`) |

Pixels and gt boxes of the even views are stored; an odd view is the mirror of the one before it. Which views of
training images there are follows from `base.mirror` and from the scales that resize wrote; of the others there is
view 0. A drawn view is made of the plain one's image and of what was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipeline.runtime.errors import InputError

_NAME = re.compile(r"(?P<image_id>.+)\.(?:mirrored|(?P<drawn>drawn)|view(?P<view>[2-9]|[1-9]\d+))", re.DOTALL)

DRAWN = 127
"""The view that an epoch draws: the last that a table can name."""


class Entry(NamedTuple):
    """An image in one of its views."""

    image_id: str
    view: int = 0

    @property
    def mirrored(self) -> bool:
        """Whether it is seen mirrored left to right."""
        return self.view % 2 == 1 and not self.drawn

    @property
    def drawn(self) -> bool:
        """Whether it is seen as an epoch draws it."""
        return self.view == DRAWN

    @property
    def scale(self) -> int:
        """Which scale of the resize stage it is seen at: 0 its shorter side, then its extra sides."""
        return 0 if self.drawn else self.view // 2

    @property
    def stored(self) -> Entry:
        """The entry whose pixels and gt boxes are stored: itself, where it is mirrored the one before it, where it is
        drawn the plain one."""
        if self.drawn:
            return Entry(self.image_id)
        return Entry(self.image_id, self.view - self.view % 2)

    @property
    def mirror(self) -> Entry:
        """The mirror of a stored entry."""
        return Entry(self.image_id, self.stored.view + 1)

    @property
    def seed_key(self) -> tuple[str, int]:
        """What seeds take."""
        return self.image_id, int(self.view)

    @property
    def name(self) -> str:
        """Its name as people type it and as shards have their members."""
        if self.view == 0:
            return self.image_id
        if self.drawn:
            return f"{self.image_id}.drawn"
        return f"{self.image_id}.mirrored" if self.view == 1 else f"{self.image_id}.view{self.view}"

    @property
    def caption(self) -> str:
        """Its name as captions have it."""
        return self.image_id + self.name[len(self.image_id) :].replace(".view", " view ").replace(".", " ")

    @property
    def columns(self) -> dict[str, str | int]:
        """What says in a table which entry a row is of."""
        return {"image_id": self.image_id, "view": self.view}


def entry_named(name: str) -> Entry:
    """The entry of a name. Where an image's id may end like the name of a view, look for the id first."""
    found = _NAME.fullmatch(name)
    if found is None:
        return Entry(name)
    return Entry(found["image_id"], DRAWN if found["drawn"] else int(found["view"] or 1))


def check_names(image_ids: Iterable[str], views: int) -> None:
    """Whether the names of all entries are apart, where an image has so many views at most.

    Raises:
        InputError: an image is named as a view of another.
    """
    ids = set(image_ids)
    for image_id in sorted(ids):
        other = entry_named(image_id)
        if 0 < other.view < views and other.image_id in ids:
            raise InputError(
                f"image {image_id!r} has the name of view {other.view} of image {other.image_id!r}; rename its file"
            )


def views_of(scales: int, mirror: bool) -> tuple[int, ...]:
    """The views of a training image that resize wrote at so many scales, in the order of their rows."""
    return tuple(range(0, 2 * scales, 1 if mirror else 2))


def count_views(last: int) -> int:
    """How many views of an image there are where `last` is the last of them."""
    return last + 1 if last % 2 else last // 2 + 1


def seen_boxes(boxes: np.ndarray, entry: Entry, width: float) -> np.ndarray:
    """(N, 4) boxes of the stored image of `width` px as they lie in the image as the entry sees it."""
    if not entry.mirrored:
        return boxes
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
