"""The table of views: names, captions, seeds, and which views are stored."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.artifacts.image_views import DRAWN, Entry, check_names, count_views, entry_named, seen_boxes, views_of
from pipeline.runtime.errors import InputError


@pytest.mark.parametrize(
    ("view", "name", "caption", "mirrored", "scale", "stored"),
    [
        (0, "a", "a", False, 0, 0),
        (1, "a.mirrored", "a mirrored", True, 0, 0),
        (2, "a.view2", "a view 2", False, 1, 2),
        (3, "a.view3", "a view 3", True, 1, 2),
        (10, "a.view10", "a view 10", False, 5, 10),
        (DRAWN, "a.drawn", "a drawn", False, 0, 0),
    ],
)
def test_each_view_has_a_name_and_tells_what_is_seen(
    view: int, name: str, caption: str, mirrored: bool, scale: int, stored: int
) -> None:
    entry = Entry("a", view)
    assert (entry.name, entry.caption, entry.mirrored, entry.scale) == (name, caption, mirrored, scale)
    assert entry.stored == Entry("a", stored)
    assert entry_named(name) == entry
    assert entry.seed_key == ("a", view)
    assert entry.columns == {"image_id": "a", "view": view}


@pytest.mark.parametrize(
    "name", ["a.view0", "a.view1", "a.view", "a.view02", ".mirrored", "a.mirrored.png", "a.b", "view2"]
)
def test_what_names_no_view_is_an_image(name: str) -> None:
    assert entry_named(name) == Entry(name)


def test_an_image_id_may_hold_dots_and_a_caption_keeps_them() -> None:
    assert entry_named("x.y.view2") == Entry("x.y", 2)
    assert Entry("x.mirrored.y", 1).caption == "x.mirrored.y mirrored"


@pytest.mark.parametrize(
    ("scales", "mirror", "views"),
    [(1, False, (0,)), (1, True, (0, 1)), (3, False, (0, 2, 4)), (2, True, (0, 1, 2, 3))],
)
def test_views_follow_from_scales_and_mirrors(scales: int, mirror: bool, views: tuple[int, ...]) -> None:
    assert views_of(scales, mirror) == views
    assert count_views(views[-1]) == len(views)
    assert len({Entry("a", view).name for view in views}) == len(views)


@pytest.mark.parametrize("name", ["a.mirrored", "a.view2", "a.view30", "a.drawn"])
def test_an_image_that_is_named_as_a_view_of_another_is_refused(name: str) -> None:
    check_names([name, "b", "b.jpg", "c.view1"], 99)
    with pytest.raises(InputError, match=f"image '{name}' has the name of view .* of image 'a'; rename its file"):
        check_names(["b", name, "a"], DRAWN + 1)


def test_boxes_are_seen_mirrored_in_the_odd_views_alone() -> None:
    boxes = np.array([[10.0, 5, 30, 20]])
    assert seen_boxes(boxes, Entry("a", 2), 100).tolist() == [[10, 5, 30, 20]]
    assert seen_boxes(boxes, Entry("a", 3), 100).tolist() == [[70, 5, 90, 20]]
