"""Loads some views of many images, in the order of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.artifacts.image_views import Entry
from pipeline.feeding.prefetching import prefetch

if TYPE_CHECKING:
    from pipeline.feeding.views import Views, ViewSource


def views_by_scale(source: ViewSource, ids: Sequence[str], views: Sequence[int]) -> Iterator[list[Views]]:
    """Some views of each image, loaded ahead, with views of the same scale together."""
    scales = [[view for view in views if view // 2 == scale] for scale in dict.fromkeys(view // 2 for view in views)]
    return prefetch(
        lambda i: [source.load([Entry(ids[i], view) for view in scale]) for scale in scales], range(len(ids))
    )
