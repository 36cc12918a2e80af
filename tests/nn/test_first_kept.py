"""NMS that ends when enough boxes are kept gives the first that NMS of all keeps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nn import first_kept as module
from pipeline.nn.first_kept import first_kept
from pipeline.nn.operators import nms


def some_boxes(count: int, seed: int, groups: int) -> torch.Tensor:
    """(count, 4) boxes around few places, among them equal ones."""
    draw = torch.Generator().manual_seed(seed)
    places = torch.rand(groups, 2, generator=draw) * 200
    centres = places[torch.randint(groups, (count,), generator=draw)]
    centres = centres + torch.randint(-6, 7, (count, 2), generator=draw)
    sides = torch.randint(20, 60, (count, 2), generator=draw)
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


def all_kept(boxes: torch.Tensor, nms_iou: float) -> torch.Tensor:
    kept: torch.Tensor = nms(boxes, torch.arange(len(boxes), 0, -1, dtype=boxes.dtype), nms_iou)
    return kept


@given(
    count=st.integers(0, 300),
    seed=st.integers(0, 1000),
    groups=st.integers(1, 40),
    most=st.integers(1, 120),
    nms_iou=st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
def test_it_is_the_first_of_all_kept(count: int, seed: int, groups: int, most: int, nms_iou: float) -> None:
    boxes = some_boxes(count, seed, groups)
    found = first_kept(boxes, nms_iou, most)
    assert found.dtype == torch.int64
    assert torch.equal(found, all_kept(boxes, nms_iou)[:most])


class OnGpu(torch.Tensor):
    """A tensor that says it lies on a GPU."""

    is_cuda = True  # type: ignore[assignment]


@pytest.mark.parametrize("count", [0, 1, 50])
def test_on_a_gpu_all_are_taken_at_once(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, compared = some_boxes(count, 0, 5), []

    def counted(own: torch.Tensor, ranks: torch.Tensor, nms_iou: float) -> torch.Tensor:
        compared.append(len(own))
        kept: torch.Tensor = nms(own.as_subclass(torch.Tensor), ranks.as_subclass(torch.Tensor), nms_iou)
        return kept

    monkeypatch.setattr(module, "nms", counted)
    found = first_kept(boxes.as_subclass(OnGpu), 0.5, 3)
    assert compared == [count] * (count > 0)
    assert found.tolist() == all_kept(boxes, 0.5)[:3].tolist()


def test_boxes_behind_the_last_one_kept_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(boxes: torch.Tensor, *others: object) -> torch.Tensor:
        compared.append(len(boxes))
        kept: torch.Tensor = nms(boxes, *others)
        return kept

    monkeypatch.setattr(module, "nms", counted)
    apart = torch.arange(1000.0)[:, None] * 10 + torch.tensor([0.0, 0.0, 5.0, 5.0])
    assert first_kept(apart, 0.5, 100).tolist() == list(range(100))
    assert compared == [200]
    compared.clear()
    one_place = torch.tensor([0.0, 0.0, 5.0, 5.0]).expand(1000, 4)
    assert first_kept(one_place, 0.5, 100).tolist() == [0]
    assert compared == [200, 201, 201, 201, 201]
