"""A dense detector on images: padded ones, thin ones, and a head that is not what its locations say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.dense.decoding import Candidates, candidates, keep_best
from pipeline.dense.network import DenseDetector, OfImage
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Grid, Locations
from pipeline.nn.operators import nms
from pipeline.runtime.errors import InputError
from tests.dense.conftest import Family


def pixels(*sizes: tuple[int, int]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Images of these (H, W), padded with values that must not be seen."""
    height, width = max(high for high, _ in sizes), max(wide for _, wide in sizes)
    images = np.full((len(sizes), 3, height, width), 255, np.uint8)
    for number, (high, wide) in enumerate(sizes):
        images[number, :, :high, :wide] = np.random.default_rng(number).integers(0, 256, (3, high, wide))
    return torch.from_numpy(images), list(sizes)


def test_outputs_of_padded_images_are_those_of_their_own_locations(family: Family) -> None:
    images, sizes = pixels((64, 96), (96, 64))
    for own, size in zip(family.network.outputs(images, sizes), sizes, strict=True):
        assert own.grid == family.head.locations.of(*size)
        assert {len(value) for value in own.outputs.values()} == {len(own.grid)}
        best = family.network.best_scores(own)
        assert [tuple(level.shape) for level in best] == list(own.grid.cells)
        scores = family.detect.class_scores(own.outputs).amax(dim=1)
        assert torch.cat([level.flatten() for level in best]).tolist() == scores.tolist()


def test_what_the_padding_holds_is_not_seen(family: Family) -> None:
    images, sizes = pixels((32, 40), (40, 32))
    emptied = images.clone()
    for image, (height, width) in zip(emptied, sizes, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    assert not torch.equal(images, emptied)
    pairs = zip(family.network.outputs(images, sizes), family.network.outputs(emptied, sizes), strict=True)
    for one, other in pairs:
        assert all(torch.equal(value, other.outputs[name]) for name, value in one.outputs.items())


def test_the_best_score_of_a_cell_is_that_of_any_class_at_any_of_its_anchors() -> None:
    grid = Grid((8, 16), ((1, 2), (1, 1)), (2, 3))
    scores = torch.tensor([[0.1, 0.2], [0.4, 0.3], [0.5, 0.0], [0.1, 0.1], [0.0, 0.0], [0.0, 0.7], [0.6, 0.0]])
    nothing: Any = None
    part: Any = SimpleNamespace(class_scores=lambda outputs: outputs["scores"])
    best = DenseDetector(nothing, nothing, part, nothing).best_scores(OfImage({"scores": scores}, grid))
    assert [tuple(level.shape) for level in best] == list(grid.cells)
    assert torch.cat([level.flatten() for level in best]).tolist() == scores.flatten()[[2, 4, 11]].tolist()


def test_far_from_the_padding_they_are_those_of_the_image_alone(family: Family) -> None:
    """The padding reaches as far as the convolutions see; the first column's cells see none of that at the right."""
    images, sizes = pixels((32, 448), (32, 480))
    (padded, _), (alone,) = (
        family.network.outputs(images, sizes),
        family.network.outputs(images[:1, :, :, :448], sizes[:1]),
    )
    first = [level[:, 0] for level in alone.grid.split(np.arange(len(alone.grid)))]
    index = torch.from_numpy(np.concatenate([own.ravel() for own in first]))
    torch.testing.assert_close(padded.outputs["classes"][index], alone.outputs["classes"][index])


def test_detections_lie_in_the_image_by_falling_score(family: Family) -> None:
    images, sizes = pixels((64, 96), (96, 64))
    for found, (height, width) in zip(family.network(images, sizes, [(1.0, 1.0)] * 2), sizes, strict=True):
        assert 0 < len(found.boxes) <= family.params.detect_points.per_image
        assert found.boxes.min() >= 0 and (found.boxes.amax(dim=0)[2:] <= torch.tensor([width, height])).all()
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
        assert set(found.labels.tolist()) <= {1, 2, 3}


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 9), (31, 33)])
def test_an_image_thinner_than_a_cell_of_the_coarsest_level_has_one(family: Family, size: tuple[int, int]) -> None:
    (own,) = family.network.outputs(*pixels(size))
    assert own.grid == family.head.locations.of(*size) and min(map(min, own.grid.cells)) >= 1
    for stride, cells in zip(own.grid.strides, own.grid.cells, strict=True):  # none lies beyond the image
        assert all((count - 1) * stride < side for count, side in zip(cells, size, strict=True))
    assert len(own.outputs["classes"]) == len(own.grid)
    family.network.decode(own, size)


def test_a_head_that_predicts_elsewhere_than_it_says_is_told(family: Family) -> None:
    head = family.train.build_head(family.trunk.layout, 4, family.params)
    head.locations = Locations(MapLayout((Level(8, 8), Level(16, 8), Level(64, 8))), (1, 1, 1))
    network = DenseDetector(family.trunk, head.eval(), family.network._part, family.params)
    with pytest.raises(
        InputError, match=r"PointsHead: its output '\w+' has shape .* its locations are \d+, in maps of 8 x"
    ):
        network.outputs(*pixels((64, 64)))


GRID = Grid((8, 16), ((1, 3), (1, 1)), (1, 1))


def test_candidates_score_more_than_the_threshold_and_are_the_best_of_each_level() -> None:
    scores = torch.tensor([[0.5, 0.75], [0.25, 0.9], [0.8, 0.0], [0.3, 0.6]])
    found = candidates(scores, GRID, threshold=0.25, per_level=2)
    assert found.location.tolist() == [1, 2, 3, 3] and found.label.tolist() == [2, 1, 2, 1]
    torch.testing.assert_close(found.score, torch.tensor([0.9, 0.8, 0.6, 0.3]))
    assert [len(part) for part in candidates(scores, GRID, threshold=0.9, per_level=2)] == [0, 0, 0]


def test_a_second_score_is_compared_with_the_threshold_and_the_first_ranks() -> None:
    scores = torch.tensor([[0.5, 0.75], [0.25, 0.9], [0.8, 0.0], [0.3, 0.6]])
    compared = torch.tensor([[0.6, 0.1], [0.6, 0.6], [0.5, 0.6], [0.6, 0.1]])
    found = candidates(scores, GRID, threshold=0.5, per_level=2, compared=compared)
    assert found.location.tolist() == [1, 0, 3] and found.label.tolist() == [2, 1, 1]
    torch.testing.assert_close(found.score, torch.tensor([0.9, 0.5, 0.3]))


@pytest.mark.parametrize("per_level", [1, 700, 1000, 5000])
def test_of_equal_scores_the_first_candidates_are_taken_in_their_order(per_level: int) -> None:
    """Two scores by turns, as bf16 gives many equal ones."""
    grid = Grid((8,), ((1, 1000),), (1,))
    scores = torch.tensor([[0.5, 0.75], [0.75, 0.5]]).repeat(500, 1)
    found = candidates(scores, grid, 0.1, per_level)
    flat = scores.flatten().tolist()
    wanted = sorted(range(2000), key=lambda place: (-flat[place], place))[:per_level]
    assert (found.location * 2 + found.label - 1).tolist() == wanted


def test_classes_do_not_change_what_nms_decides() -> None:
    """Small boxes whose IoU is next to the threshold, in a large image, and a late class."""
    low = torch.tensor([[3.0, 3.0, 3.75, 3.75], [3.375, 3.0, 4.125, 3.75]])
    boxes = torch.cat([low + torch.tensor([[0, 0, 0, 0], [1e-6, 0, 1e-6, 0]]), low])
    boxes = torch.cat([boxes, torch.tensor([[0.0, 0.0, 1333.0, 800.0]])])
    score = torch.tensor([0.9, 0.8, 0.9, 0.8, 0.1])
    kept = []
    for late in (1, 90):
        labels = torch.tensor([late, late, late + 1, late + 1, late + 2])
        found = keep_best(boxes, Candidates(torch.arange(5), labels, score), (800, 1333), 1 / 3 - 1e-7, 10)
        kept.append((found.boxes.tolist(), (found.labels - late).tolist()))
    alone = [len(nms(own, score[:2], 1 / 3 - 1e-7)) for own in (boxes[:2], boxes[2:4])]
    assert kept[0] == kept[1] and [kept[0][1].count(number) for number in (0, 1)] == alone


def test_what_is_kept_is_clipped_not_empty_and_apart_within_its_class() -> None:
    boxes = torch.tensor(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [-5, -5, 300, 8], [120, 0, 130, 5], [5, 5, 5, 9]]
    )
    found = Candidates(torch.arange(6), torch.tensor([1, 1, 2, 3, 1, 1]), torch.tensor([0.9, 0.8, 0.7, 0.95, 0.6, 0.5]))
    kept = keep_best(boxes.float(), found, (100, 120), nms_iou=0.5, per_image=10)
    assert kept.labels.tolist() == [3, 1, 2] and kept.boxes[0].tolist() == [0, 0, 120, 8]
    assert len(keep_best(boxes.float(), found, (100, 120), 0.5, per_image=2).boxes) == 2
    nothing = Candidates(*(part[:0] for part in found))
    assert len(keep_best(boxes[:0].float(), nothing, (100, 120), 0.5, 10).boxes) == 0
