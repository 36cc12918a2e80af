"""Images of one size, which a network takes at once and without padding, within each chunk of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from pipeline.artifacts.image_views import Entry
from pipeline.runtime.repeatable import Repeatable

if TYPE_CHECKING:
    from pipeline.artifacts.resized_images import ResizedImages

Item = TypeVar("Item")


def groups_of_one_size(images: ResizedImages, chunks: Iterable[Sequence[str]], most: int) -> Repeatable[list[str]]:
    """The images of each chunk in groups of at most `most`; those of a group have one size at each scale.

    They depend on the chunk alone, so that a stage which resumes, or works in several processes, makes the same ones. A
    group stands where its first image does: what is computed before its turn comes is no more than a chunk.
    """
    return Repeatable(group for chunk in chunks for group in _groups_of(images, chunk, most))


def _groups_of(images: ResizedImages, chunk: Sequence[str], most: int) -> list[list[str]]:
    views, groups = images.views(mirror=False), []
    of_size: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for image_id in chunk:
        size = tuple(images.seen(Entry(image_id, view)).size for view in views)
        group = of_size.get(size, [])
        if len(group) in (0, most):
            group = of_size[size] = []
            groups.append(group)
        group.append(image_id)
    return groups


def in_order(ids: Iterable[str], groups: Iterable[Sequence[str]], found: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """What was found in each of the images, in the order of `ids`.

    Args:
        groups: of the same images. found: for each group, an item for each of its images.
    """
    left, waiting = iter(ids), dict[str, Item]()
    wanted: str | None = None
    for group, items in zip(groups, found, strict=True):
        waiting.update(zip(group, items, strict=True))
        while waiting:
            wanted = next(left) if wanted is None else wanted
            if wanted not in waiting:
                break
            yield waiting.pop(wanted)
            wanted = None
