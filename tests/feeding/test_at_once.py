"""Images of one size in groups, and what is found in them in the images' order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast

import pytest

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ImageInfo, ResizedImages
from pipeline.feeding.at_once import groups_of_one_size, in_order


class Sizes:
    """Stands for ResizedImages: images "00", "01" and so on of these heights, at each scale."""

    def __init__(self, *heights: list[int]) -> None:
        self._heights = heights

    def views(self, mirror: bool) -> tuple[int, ...]:
        return tuple(range(0, 2 * len(self._heights), 1 if mirror else 2))

    def seen(self, entry: Entry) -> ImageInfo:
        size = (self._heights[entry.scale][int(entry.image_id)], 100)
        return ImageInfo(entry.image_id, size, size, (1.0, 1.0), "")


def ids_of(count: int, start: int = 0) -> list[str]:
    return [f"{place:02d}" for place in range(start, start + count)]


def groups_of(sizes: Sizes, chunks: list[list[str]], most: int) -> list[list[str]]:
    return list(groups_of_one_size(cast(ResizedImages, sizes), chunks, most))


def test_groups_have_one_size_and_stand_where_their_first_image_does() -> None:
    told = groups_of(Sizes([1, 2, 1, 1, 2, 3, 1]), [ids_of(7)], 2)
    assert told == [["00", "02"], ["01", "04"], ["03", "06"], ["05"]]


def test_no_group_reaches_into_another_chunk() -> None:
    assert groups_of(Sizes([1] * 6), [ids_of(3), ids_of(3, 3)], 4) == [ids_of(3), ids_of(3, 3)]
    assert groups_of(Sizes([1] * 6), [ids_of(3, 3)], 4) == [ids_of(3, 3)]


def test_images_of_a_group_have_one_size_at_every_scale() -> None:
    assert groups_of(Sizes([1, 1, 1], [4, 5, 4]), [ids_of(3)], 3) == [["00", "02"], ["01"]]


@pytest.mark.parametrize("seed", range(20))
def test_every_image_is_found_once_in_its_order_and_none_waits_longer_than_for_its_chunk(seed: int) -> None:
    draw = random.Random(seed)
    heights, most, per_chunk = draw.choices(range(1, 4), k=3 * seed // 2), draw.randint(1, 5), draw.randint(1, 12)
    ids = ids_of(len(heights))
    chunks = [ids[start : start + per_chunk] for start in range(0, len(ids), per_chunk)]
    groups = groups_of(Sizes(heights), chunks, most)
    assert all(0 < len(group) <= most and len({heights[int(own)] for own in group}) == 1 for group in groups)
    computed: list[str] = []

    def found() -> Iterator[list[str]]:
        for group in groups:
            computed.extend(group)
            yield [f"found in {own}" for own in group]

    told = []
    for place, item in enumerate(in_order(ids, groups, found())):
        told.append(item)
        chunk = chunks[place // per_chunk]
        assert set(computed) <= {*ids[:place], *chunk}
    assert told == [f"found in {own}" for own in ids]


def test_an_item_for_each_image_is_wanted() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(in_order(["a", "b"], [["a", "b"]], [[1]]))
