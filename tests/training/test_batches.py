"""Batches: padding, prefetching in order, and samples that depend on run, stage, epoch and image alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts.anchor_targets import AnchorAssignment
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import ProposalAssignment
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler
from pipeline.families.faster_rcnn.training.batches import Batch, BatchLoader
from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler
from pipeline.feeding import prefetching
from pipeline.feeding.prefetching import pinned, prefetch, prefetch_groups, to_device
from pipeline.feeding.views import ImageViews, MapViews
from pipeline.runtime.repeatable import Repeatable

A, A_MIRRORED, B, C = Entry("a"), Entry("a", 1), Entry("b"), Entry("c")
SIZES = {A: (32, 48), A_MIRRORED: (32, 48), B: (64, 32), C: (16, 16)}


class Images:
    """Stands in for the resized images: pixels that tell their image and place."""

    def pixels(self, entry: Entry) -> np.ndarray:
        height, width = SIZES[entry]
        return np.random.default_rng(len(entry.image_id)).integers(1, 256, (height, width, 3), dtype=np.uint8)


class Maps:
    """Stands in for cached feature maps of two channels."""

    def __init__(self, dtype: str = "float16") -> None:
        self._dtype = dtype

    def size(self, entry: Entry) -> tuple[int, int]:
        return SIZES[entry]

    def __getitem__(self, entry: Entry) -> tuple[np.ndarray]:
        height, width = (side // 16 for side in SIZES[entry])
        return (np.arange(1, 1 + 2 * height * width, dtype=self._dtype).reshape(2, height, width),)


def anchor_targets() -> dict[Entry, AnchorAssignment]:
    deltas = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    bg = np.zeros(600, np.uint8)
    bg[1::3] = 1
    matched_gt, max_iou = np.zeros(90, np.int64), np.ones(90, np.float32)
    assigned = AnchorAssignment(np.arange(0, 270, 3), deltas, matched_gt, max_iou, np.packbits(bg), 600, (10, 20))
    return dict.fromkeys(SIZES, assigned)


def proposal_targets() -> dict[Entry, ProposalAssignment]:
    draw = np.random.default_rng(0)
    boxes, deltas = (draw.normal(size=(200, 4)).astype(np.float32) for _ in range(2))
    boxes[:, 0] = np.arange(200)
    labels, count = draw.integers(-1, 4, 200).astype(np.int16), np.arange(200)
    return dict.fromkeys(SIZES, ProposalAssignment(count, boxes, boxes[:, 1], count, labels, deltas))


def loader(
    entries: list[Entry], epoch: int = 0, seed: int = 0, stage: str = "train", count: int = 32
) -> Callable[[int], Batch]:
    return BatchLoader(
        lambda _: (epoch, entries),
        MapViews(Maps()),  # type: ignore[arg-type]
        seed,
        stage,
        anchors=AnchorSampler(anchor_targets(), count, 0.5, seed, stage),  # type: ignore[arg-type]
        rois=RoISampler(proposal_targets(), count, 0.25, seed, stage),  # type: ignore[arg-type]
    )


def drawn_for(batch: Batch, index: int) -> list[list[float]]:
    anchors, rois = batch.anchors[index], batch.rois[index]
    return [anchors.fg.tolist(), anchors.bg.tolist(), rois.rois[:, 0].tolist(), [float(batch.seeds[index])]]


def test_images_of_two_sizes_are_padded_with_zeros_at_the_right_and_bottom() -> None:
    views = ImageViews(Images()).load([A, B])  # type: ignore[arg-type]
    assert views.sizes == [(32, 48), (64, 32)]
    assert views.images is not None
    assert views.images.shape == (2, 3, 64, 48)
    assert views.images.dtype == torch.uint8
    for image, entry in zip(views.images, (A, B), strict=True):
        height, width = SIZES[entry]
        assert np.array_equal(image[:, :height, :width].permute(1, 2, 0).numpy(), Images().pixels(entry))
        assert int((image != 0).sum()) == 3 * height * width


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_maps_of_two_sizes_are_padded_and_keep_their_type(dtype: str) -> None:
    views = MapViews(Maps(dtype)).load([A, B])  # type: ignore[arg-type]
    assert views.images is None
    assert views.maps is not None
    (maps,) = views.maps
    assert maps.shape == (2, 2, 4, 3)
    assert maps.dtype == getattr(torch, dtype)
    assert np.array_equal(maps[0, :, :2, :3].numpy(), *Maps(dtype)[A])
    assert np.array_equal(maps[1, :, :4, :2].numpy(), *Maps(dtype)[B])
    assert int((maps != 0).sum()) == Maps()[A][0].size + Maps()[B][0].size


def test_batches_lie_channels_last_in_memory() -> None:
    views = ImageViews(Images()).load([A, B])  # type: ignore[arg-type]
    assert views.images is not None
    assert views.images.is_contiguous(memory_format=torch.channels_last)


def test_an_entry_draws_the_same_sample_whatever_else_is_in_its_batch_and_at_whatever_iteration() -> None:
    alone = drawn_for(loader([A])(0), 0)
    assert alone == drawn_for(loader([B, A])(7), 1)
    assert alone == drawn_for(loader([A, C])(3), 0)


def test_sample_changes_with_the_epoch_the_seed_the_stage_the_image_and_its_mirror() -> None:
    samples = [
        drawn_for(loader([A])(0), 0),
        drawn_for(loader([A], epoch=1)(0), 0),
        drawn_for(loader([A], seed=1)(0), 0),
        drawn_for(loader([A], stage="train_rpn_step3")(0), 0),
        drawn_for(loader([B])(0), 0),
        drawn_for(loader([A_MIRRORED])(0), 0),
    ]
    for part in range(4):
        assert len({tuple(sample[part]) for sample in samples}) == len(samples)


def test_drawn_anchors_are_half_fg_and_their_deltas_are_their_own() -> None:
    sample, assigned = loader([A])(0).anchors[0], anchor_targets()[A]
    assert (len(sample.fg), len(sample.bg)) == (16, 16)
    assert set(sample.bg.tolist()) <= set(assigned.bg.tolist())
    rows = [assigned.fg.tolist().index(anchor) for anchor in sample.fg.tolist()]
    assert np.array_equal(sample.deltas.numpy(), assigned.deltas[rows])


def test_drawn_rois_are_a_quarter_fg_first_never_ignored_ones_and_keep_their_rows_together() -> None:
    sample, rows = loader([A])(0).rois[0], proposal_targets()[A]
    assert bool((sample.labels[:8] > 0).all())
    assert sample.labels[8:].tolist() == [0] * 24
    index = sample.rois[:, 0].long().numpy()  # x1 holds the row's number
    assert sample.labels.tolist() == rows.labels[index].tolist()
    assert np.array_equal(sample.rois[:, 3].numpy(), rows.boxes[index, 3])
    assert np.array_equal(sample.deltas[:, 2].numpy(), rows.deltas[index, 2])


def test_dropout_seed_is_the_iterations_own() -> None:
    make = loader([A])
    assert make(0).seeds[-1] != make(1).seeds[-1]
    assert make(0).seeds[-1] == loader([A])(0).seeds[-1]
    assert len(make(0).seeds) == 2


def test_a_batch_without_samplers_is_empty_where_nothing_is_trained() -> None:
    batch = BatchLoader(lambda _: (0, [A]), MapViews(Maps()), 0, "train")(0)  # type: ignore[arg-type]
    assert (batch.anchors, batch.rois, batch.gt, batch.scales) == ([], [], [], [])


def test_prefetched_items_come_in_order_and_are_all_made_once() -> None:
    made: list[int] = []

    def make(index: int) -> int:
        made.append(index)
        return index * 10

    assert list(prefetch(make, range(5, 25), depth=2)) == [index * 10 for index in range(5, 25)]
    assert made == list(range(5, 25))
    assert list(prefetch(make, range(0))) == []


def test_an_exception_while_making_an_item_is_raised_where_the_item_would_have_come() -> None:
    def make(index: int) -> int:
        if index == 3:
            raise ValueError("item 3")
        return index

    items = prefetch(make, range(10), depth=8)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(items)


def test_a_consumer_that_stops_early_stops_the_thread_and_no_more_than_depth_are_made_ahead() -> None:
    made: list[int] = []
    items = prefetch(lambda index: made.append(index) or threading.current_thread(), range(10_000), depth=2)
    thread = next(items)
    assert thread is not threading.current_thread()
    items.close()  # type: ignore[attr-defined]
    assert not thread.is_alive()
    assert len(made) <= 5


@pytest.mark.parametrize(("most", "ahead"), [(1, 3), (2, 1), (16, 1)])
def test_of_groups_of_several_images_one_is_loaded_ahead(
    monkeypatch: pytest.MonkeyPatch, most: int, ahead: int
) -> None:
    depths: list[int] = []

    def noted(load: Callable[[Any], Any], keys: Repeatable[Any], depth: int) -> Iterator[Any]:
        depths.append(depth)
        return map(load, keys)

    monkeypatch.setattr(prefetching, "prefetch", noted)
    groups = Repeatable([["a"] * most, ["b"]])
    assert list(prefetch_groups("".join, groups, most)) == ["a" * most, "b"]
    assert depths == [ahead]


def test_every_tensor_of_a_batch_moves_to_the_device_and_the_rest_stays() -> None:
    batch = loader([A, B])(0)
    moved = to_device(batch, torch.device("meta"))

    def tensors(value: Batch) -> list[Tensor]:
        maps = value.views.maps
        assert maps is not None
        samples = [[s.fg, s.bg, s.deltas] for s in value.anchors] + [[s.rois, s.labels, s.deltas] for s in value.rois]
        return [*maps, *(tensor for sample in samples for tensor in sample)]

    assert [t.device.type for t in tensors(moved)] == ["meta"] * 13
    assert [t.shape for t in tensors(moved)] == [t.shape for t in tensors(batch)]
    assert (moved.views.entries, moved.views.sizes, moved.seeds) == (
        batch.views.entries,
        batch.views.sizes,
        batch.seeds,
    )


def test_batches_are_pinned_where_there_is_a_gpu_and_else_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = loader([A, B])(0)
    assert pinned(batch) is batch or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor.to("meta"))
    (made,) = prefetch(lambda _: batch, range(1))
    assert made.views.maps[0].device.type == made.drawn_rois.deltas.device.type == "meta"
    assert made.seeds == batch.seeds
    # The step takes them put together: single images' samples are only looked at where a loss is not finite.
    assert made.drawn_rois is not None and made.rois[0].deltas.device.type == "cpu"
