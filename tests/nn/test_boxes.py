"""Laws of the box arithmetic. Corners are multiples of a quarter pixel, so that sums in float64 are exact."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.nn.boxes import BoxColumns, areas, clip, decode, encode, mirror, pairwise_iou


def _boxes_of(corners_and_sizes: list[tuple[int, int, int, int]]) -> Tensor:
    x, y, width, height = (
        torch.tensor(values, dtype=torch.float64) / 4 for values in zip(*corners_and_sizes, strict=True)
    )
    return torch.stack([x, y, x + width, y + height], dim=1)


def boxes(*, least: int = 1, smallest: float = 0.25, equal_count_to: int | None = None) -> st.SearchStrategy[Tensor]:
    """(N, 4) float64 boxes of sides `smallest` to 1000 px, partly outside of any image."""
    corner, side = st.integers(-800, 4000), st.integers(int(4 * smallest), 4000)
    count = {"min_size": equal_count_to or least, "max_size": equal_count_to or 8}
    return st.lists(st.tuples(corner, corner, side, side), **count).map(_boxes_of)


# Ratios of sides stay below 1000 / 16, where deltas are cut.
pairs = st.integers(1, 8).flatmap(
    lambda count: st.tuples(boxes(smallest=16, equal_count_to=count), boxes(smallest=16, equal_count_to=count))
)


@given(pairs)
def test_decoding_encoded_deltas_gives_the_targets_back(pair: tuple[Tensor, Tensor]) -> None:
    references, targets = pair
    torch.testing.assert_close(decode(references, encode(references, targets)), targets, rtol=0, atol=1e-8)


@given(pairs)
def test_encoding_decoded_boxes_gives_the_deltas_back(pair: tuple[Tensor, Tensor]) -> None:
    references, targets = pair
    deltas = encode(references, targets).clamp(-4, 4)
    torch.testing.assert_close(encode(references, decode(references, deltas)), deltas, rtol=0, atol=1e-9)


def test_deltas_are_in_widths_heights_and_log_ratios() -> None:
    reference, target = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 80]])
    expected = torch.tensor([[1.0, 1.5, torch.log(torch.tensor(2.0)), torch.log(torch.tensor(4.0))]])
    torch.testing.assert_close(encode(reference, target), expected)


@given(pairs)
def test_deltas_of_several_classes_decode_as_each_class_alone(pair: tuple[Tensor, Tensor]) -> None:
    references, targets = pair
    deltas = torch.stack([encode(references, targets), -encode(references, targets)], dim=1)
    both = decode(references, deltas)
    assert both.shape == (len(references), 2, 4)
    for column in range(2):
        assert torch.equal(both[:, column], decode(references, deltas[:, column]))


def test_size_deltas_are_cut_where_a_box_would_grow_by_more_than_1000_over_16() -> None:
    grown = decode(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 50, 4]]))
    torch.testing.assert_close(grown[0, 2] - grown[0, 0], torch.tensor(1000.0))
    torch.testing.assert_close(grown[0, 3] - grown[0, 1], 16 * torch.exp(torch.tensor(4.0)))


@given(boxes(), boxes())
def test_iou_is_symmetric_between_0_and_1_and_equal_to_torchvisions(first: Tensor, second: Tensor) -> None:
    iou = pairwise_iou(first, second)
    assert torch.equal(iou, pairwise_iou(second, first).T)
    assert bool(((iou >= 0) & (iou <= 1)).all())
    torch.testing.assert_close(iou, torchvision.ops.box_iou(first, second), rtol=1e-12, atol=0)


@given(boxes())
def test_iou_of_a_box_with_itself_is_1(some: Tensor) -> None:
    assert bool((pairwise_iou(some, some).diagonal() == 1).all())


def test_iou_of_empty_boxes_is_0_and_not_nan() -> None:
    empty, box = torch.tensor([[3.0, 3, 3, 3]]), torch.tensor([[0.0, 0, 10, 10]])
    assert pairwise_iou(empty, torch.cat([empty, box])).tolist() == [[0, 0]]


def test_area_is_of_continuous_sides() -> None:
    assert areas(torch.tensor([[1.0, 2, 4, 9]])).tolist() == [21]


@given(boxes(), st.integers(1, 1000))
def test_mirroring_twice_changes_nothing(some: Tensor, width: int) -> None:
    assert torch.equal(mirror(mirror(some, width), width), some)


@given(boxes(), boxes(), st.integers(1, 1000))
def test_mirrored_boxes_have_the_same_iou(first: Tensor, second: Tensor, width: int) -> None:
    assert torch.equal(pairwise_iou(mirror(first, width), mirror(second, width)), pairwise_iou(first, second))


def test_mirrored_box_lies_as_far_from_the_other_edge() -> None:
    assert mirror(torch.tensor([[10.0, 20, 30, 50]]), 100).tolist() == [[70, 20, 90, 50]]


@given(boxes(), st.integers(1, 600), st.integers(1, 600))
def test_clipped_boxes_lie_in_the_image_and_only_what_sticks_out_is_cut(some: Tensor, height: int, width: int) -> None:
    clipped = clip(some, height, width)
    limits = torch.tensor([width, height, width, height], dtype=torch.float64)
    assert bool(((clipped >= 0) & (clipped <= limits)).all())
    within = (some >= 0) & (some <= limits)
    assert torch.equal(clipped[within], some[within])
    assert torch.equal(clip(clipped, height, width), clipped)


def test_x_is_clipped_by_the_width_and_y_by_the_height() -> None:
    boxes_of_two_classes = torch.tensor([[[-5.0, -6, 500, 600], [150, 90, 300, 400]]])
    assert clip(boxes_of_two_classes, 100, 200).tolist() == [[[0, 0, 200, 100], [150, 90, 200, 100]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("others", [7, 1000, 4096])
def test_iou_is_the_same_however_many_boxes_are_compared_at_once(others: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(others)
    corners = torch.rand(others + 40, 2, generator=draw, dtype=dtype) * 100
    boxes = torch.cat([corners, corners + torch.rand(others + 40, 2, generator=draw, dtype=dtype) * 50], dim=1)
    boxes[::13, 2:] = boxes[::13, :2]  # without area
    few, many = boxes[:40], boxes[40:]
    many[0] = few[0]
    some = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randperm(others, generator=draw)[:60]])
    one_by_one = torch.stack(
        [torch.cat([pairwise_iou(box[None], other[None])[0] for box in few]) for other in many[some]], 1
    )
    assert torch.equal(pairwise_iou(few, many)[:, some], one_by_one)
    assert torch.equal(pairwise_iou(few, many, torch.float32)[:, some], one_by_one.float())
    assert one_by_one[0, 0] == 0 and torch.isfinite(one_by_one).all()


@pytest.mark.parametrize("count", [4096, 5000, 1])
def test_boxes_that_stand_in_rows_are_left_out_by_the_block_and_none_that_overlaps_is(count: int) -> None:
    place = torch.arange(count, dtype=torch.float64)
    corners = torch.stack([place % 100 * 10, place // 100 * 10], dim=1)
    rows = BoxColumns(torch.cat([corners, corners + 12], dim=1))
    above, between, across = torch.tensor([[0.0, -9, 900, 0], [5, 3, 15, 8], [995, 0, 999, 600]], dtype=torch.float64)
    found = [
        (index, run.start, run.stop) for index, run, _ in rows.overlaps(torch.stack([above, between]), torch.float64)
    ]
    assert found == [(1, 0, min(count, 1024))]
    boxes = torch.stack([above, between, across])
    iou = torch.zeros(3, count, dtype=torch.float64)
    for index, run, own in list(rows.overlaps(boxes, torch.float64)):
        iou[index, run] = own
    assert torch.equal(iou, rows.iou(boxes, torch.float64))
    overlaps = iou > 0
    left, top, right, bottom = boxes.t()[..., None]
    meant = (
        (corners[:, 0] < right) & (corners[:, 0] + 12 > left) & (corners[:, 1] < bottom) & (corners[:, 1] + 12 > top)
    )
    assert torch.equal(overlaps, meant)
