"""Loads some views of groups of images, in the order of the groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.artifacts.image_views import Entry
from pipeline.feeding.prefetching import prefetch_groups

if TYPE_CHECKING:
    from pipeline.feeding.views import Views, ViewSource
    from pipeline.runtime.repeatable import Repeatable


def views_by_scale(
    source: ViewSource, groups: Repeatable[list[str]], views: Sequence[int], most: int
) -> Iterator[list[Views]]:
    """Some views of the images of each group, loaded ahead, with views of the same scale together, image by image.

    Args:
        most: images of a group.
    """
    scales = [[view for view in views if view // 2 == scale] for scale in dict.fromkeys(view // 2 for view in views)]

    def load(group: Sequence[str]) -> list[Views]:
        return [source.load([Entry(image_id, view) for image_id in group for view in own]) for own in scales]

    return prefetch_groups(load, groups, most)
