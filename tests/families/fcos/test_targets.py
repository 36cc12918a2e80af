"""Which locations find which object."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dense.assignment import Truth
from pipeline.families.fcos.locations import points_of
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from tests.families.family_project import family_params
from tests.families.fcos.scene import PYRAMID, SIZE, assigned
from tests.families.truths import check_mirror, halves, truth

WHOLE: dict[str, Any] = {"fcos": {"centre_radius": None}}


def found_at(params: Params, *boxes: list[float], size: tuple[int, int] = SIZE) -> list[tuple[int, float, float]]:
    """Level, x and y of the locations that are to find the last box."""
    own, grid = assigned(params, truth(*boxes), size)
    index = np.flatnonzero((own.labels > 0) & (own.matched_gt == len(boxes) - 1))
    centres = grid.centres()[index]
    return [(int(level), *map(float, own)) for level, own in zip(grid.levels()[index], centres, strict=True)]


def levels(params: Params, box: list[float]) -> set[int]:
    return {level for level, _, _ in found_at(params, box)}


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize(("borders", "at"), [("open", set()), ("closed", {0, 1})])
def test_an_object_at_the_border_of_two_ranges(level: int, borders: str, at: set[int]) -> None:
    """The longest distance from the centre of a square is half its side. With so small a radius the location at its
    centre alone is near; it is one of a single level. A 64th of a pixel less or more is in one range. That a square
    sticks out of the image does not matter."""
    params = family_params("fcos", PYRAMID, {"fcos": {"range_borders": borders, "centre_radius": 1e-3}})
    size, border = (256, 256), 64.0 * 2**level
    for more, wanted in ((-1 / 64, {level}), (0.0, {level + own for own in at}), (1 / 64, {level + 1})):
        found = set()
        for own in range(5):
            centre, half = 4.0 * 2**own, border + more
            found |= {place[0] for place in found_at(params, [centre - half] * 2 + [centre + half] * 2, size=size)}
        assert found == wanted, more


def test_ranges_are_the_papers_where_none_are_given() -> None:
    for given_ranges in (None, [64.0, 128.0, 256.0, 512.0]):
        params = family_params("fcos", PYRAMID, {"fcos": {"ranges": given_ranges}})
        for half, level in ((20, 0), (70, 1), (140, 2), (300, 3)):
            assert levels(params, [640 - half, 384 - half, 640 + half, 384 + half]) == {level}
        assert levels(params, [0, 0, 1280, 768]) == {4}


def test_ranges_are_of_the_longest_distance_of_a_location_not_of_an_object() -> None:
    """An object may be found on two levels: near its centre the longest distance is shortest."""
    for radius, wanted in ((None, {0, 1}), (1.0, {0})):
        params = family_params("fcos", PYRAMID, {"fcos": {"centre_radius": radius}})
        assert levels(params, [600, 300, 700, 400]) == wanted


def test_one_level_finds_objects_of_every_size() -> None:
    params = family_params("fcos")
    for box in ([100, 100, 109, 109], [10, 10, 50, 80], [0, 0, 1280, 768]):
        assert levels(params, box) == {0}


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        (
            {"fcos": {"ranges": [64.0]}},
            r"fcos\.ranges \[64\.0\] has 1 borders, and the trunk has 1 level, of stride 8; give 0, ",
        ),
        ({**PYRAMID, "fcos": {"ranges": [64.0, 128.0]}}, r"has 2 borders, .* 5 levels, of strides 8, 16, .*; give 4, "),
        ({**PYRAMID, "fcos": {"ranges": [64.0, 32.0, 70.0, 80.0]}}, r"must be above that of the level before"),
        ({"fcos": {"channels": 48}}, r"make channels a multiple of 32, not 48, or set norm to none"),
    ],
)
def test_what_does_not_fit_is_one_line(overlay: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        family_params("fcos", overlay)
    assert "\n" not in str(error.value)


def test_locations_nearer_than_the_radius_find_an_object_and_those_at_it_do_not() -> None:
    """Radius 1.5 at stride 8 is 12 px: from a centre at 24, locations at 12 and 36 are as far, at 20 and 28 nearer."""
    params = family_params("fcos")
    assert found_at(params, [4, 4, 44, 44]) == [(0, x, y) for y in (20, 28) for x in (20, 28)]
    moved = found_at(params, [4 + 1 / 64, 4, 44 + 1 / 64, 44])
    assert moved == [(0, x, y) for y in (20, 28) for x in (20, 28, 36)]
    whole = found_at(family_params("fcos", WHOLE), [4, 4, 44, 44])
    assert whole == [(0, x, y) for y in (12, 20, 28, 36) for x in (12, 20, 28, 36)]  # 4 and 44 are its edges


def test_of_two_objects_a_location_finds_the_smaller_and_of_equals_the_first() -> None:
    params = family_params("fcos", WHOLE)
    small, large = [16.0, 16.0, 48.0, 48.0], [0.0, 0.0, 64.0, 64.0]
    assert len(found_at(params, large, small)) == len(found_at(params, small)) == 16
    assert len(found_at(params, small, large)) == 48
    assert found_at(params, small, small) == []


def test_the_quality_is_the_centreness() -> None:
    own, grid = assigned(family_params("fcos", WHOLE), truth([0, 0, 40, 24]))
    at = {tuple(centre): float(own.quality[place]) for place, centre in enumerate(grid.centres())}
    assert at[20, 12] == 1.0 and at[4, 12] == pytest.approx((4 / 36) ** 0.5) and at[100, 100] == 0
    assert at[12, 4] == pytest.approx((12 / 28 * 4 / 20) ** 0.5)


def test_locations_in_a_region_are_ignored_but_those_that_find_an_object() -> None:
    params, box, region = family_params("fcos"), [4.0, 4.0, 44.0, 44.0], [0.0, 0.0, 64.0, 64.0]
    plain, grid = assigned(params, truth(box))
    own, _ = assigned(params, truth(box, regions=[region]))
    inside = (grid.centres() < 64).all(axis=1)
    assert (own.labels[inside & (plain.labels == 0)] == -1).all() and inside.sum() == 64
    assert (own.labels[~inside | (plain.labels > 0)] == plain.labels[~inside | (plain.labels > 0)]).all()
    assert set(assigned(params, truth())[0].labels.tolist()) == {0}


SMALL = (256, 384)
BOXES = st.lists(
    st.tuples(*[st.integers(0, 2 * side - 2) for side in SMALL[::-1]], st.integers(2, 800), st.integers(2, 600)),
    max_size=6,
)
FORMS = st.fixed_dictionaries(
    {"centre_radius": st.sampled_from([None, 1.0, 1.5]), "range_borders": st.sampled_from(["open", "closed"])}
)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(BOXES, BOXES, FORMS)
def test_a_mirrored_image_has_the_mirrored_assignment(
    objects: list[tuple[int, ...]], regions: list[tuple[int, ...]], form: dict[str, Any]
) -> None:
    params = family_params("fcos", PYRAMID, {"fcos": form})
    known = truth(*halves(objects, SMALL), regions=halves(regions, SMALL))
    check_mirror(partial(assigned, params), known, SMALL)


@pytest.mark.parametrize("scale", [1.6, 1.28])
def test_so_has_one_whose_boxes_are_resized(scale: float) -> None:
    """Objects of whole pixels in photos of 500 x 375; float32 rounds what is equal apart."""
    params, size, draw = family_params("fcos"), (round(375 * scale), round(500 * scale)), np.random.default_rng(0)
    for _ in range(10):
        low = draw.integers(0, [400, 300, 400, 300], (8, 4))[:, :2]
        high = np.minimum(low + draw.integers(8, 200, (8, 2)), [500, 375])
        boxes = np.concatenate([low, high], axis=1).astype(np.float32) * np.float32(scale)
        check_mirror(partial(assigned, params), Truth(boxes[:6], np.arange(1, 7), boxes[6:]), size)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(BOXES, FORMS, st.sampled_from(["centred", "torchvision"]))
def test_they_are_those_of_the_originals_rule(
    objects: list[tuple[int, ...]], form: dict[str, Any], placement: str
) -> None:
    """The rule of FCOS's first code, location by location, in fractions of a pixel that are exact: the box around the
    centre is clipped to the gt box."""
    params = family_params("fcos", PYRAMID, {"fcos": {**form, "placement": placement}})
    known = truth(*halves(objects, SMALL))
    own, grid = assigned(params, known, SMALL)
    borders = [(0.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, np.inf)]
    points, strides = points_of(grid, SMALL, params), np.asarray(grid.strides)[grid.levels()]
    wanted = []
    for (x, y), level, stride in zip(points.tolist(), grid.levels().tolist(), strides.tolist(), strict=True):
        best = (np.inf, -1)
        for gt, (left, top, right, bottom) in enumerate(known.boxes.tolist()):
            middle, reach = ((left + right) / 2, (top + bottom) / 2), (form["centre_radius"] or np.inf) * stride
            low = max(middle[0] - reach, left), max(middle[1] - reach, top)
            high = min(middle[0] + reach, right), min(middle[1] + reach, bottom)
            longest, (least, most) = max(x - left, y - top, right - x, bottom - y), borders[level]
            if not (low[0] < x < high[0] and low[1] < y < high[1]):
                continue
            if least < longest < most or (form["range_borders"] == "closed" and longest in (least, most)):
                best = min(best, ((right - left) * (bottom - top), gt))
        wanted.append(best[1])
    assert np.where(own.labels > 0, own.matched_gt, -1).tolist() == wanted
