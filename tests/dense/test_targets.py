"""Assignments stored, read again and put together to batches of padded images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dense_targets import (
    FG_LOCATIONS,
    LEVEL_IMAGES,
    DenseTargets,
    DenseTargetWriter,
    StoredAssignment,
)
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import box_columns, read_columns, write_table
from pipeline.dense.assignment import Truth, assign
from pipeline.dense.targets import BatchTargets, TargetSource, put_together
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Grid, Locations
from pipeline.runtime.errors import InputError
from tests.dense.conftest import Family

GRID = Grid((8, 16), ((2, 3), (1, 1)), (2, 1))
STORED = StoredAssignment(
    np.array([1, 9, 12]),
    np.array([3, 1, 2]),
    np.array([0, 2, 0]),
    np.array([0.5, 1.0, 0.25], np.float32),
    np.packbits(np.arange(13) == 4),
    GRID,
)
NOTHING = StoredAssignment(
    *(np.zeros(0, np.int64) for _ in range(3)), np.zeros(0, np.float32), np.packbits(np.zeros(13, bool)), GRID
)


def stored(folder: Path, assigned: dict[Entry, StoredAssignment]) -> DenseTargets:
    with ChunkedWork(folder, ["a"]) as work:
        writer = DenseTargetWriter(work)
        for _ in work.through(work.missing):
            writer.add(assigned, 3)
    assert writer.fg_count == sum(len(own.fg) for own in assigned.values())
    return DenseTargets(folder)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    targets = stored(tmp_path, {Entry("a"): STORED, Entry("a", 1): NOTHING})
    assert list(targets) == [Entry("a"), Entry("a", 1)] and Entry("b") not in targets
    assert (len(targets), targets.images, targets.fg_count, targets.count_with_fg()) == (2, 1, 3, 1)
    assert targets.counts() == {0: (2, 1), 1: (1, 0)}
    for entry, wanted in ((Entry("a"), STORED), (Entry("a", 1), NOTHING)):
        own = targets[entry]
        assert own.grid == GRID
        for name in ("fg", "labels", "matched_gt", "quality", "ignored_bits"):
            assert getattr(own, name).tolist() == getattr(wanted, name).tolist()
    assert targets[Entry("a")].dense_labels.tolist() == [0, 3, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 2]
    assert np.flatnonzero(targets[Entry("a")].ignored).tolist() == [4]


def test_tables_say_where_a_location_lies_and_count_those_of_a_level(tmp_path: Path) -> None:
    stored(tmp_path, {Entry("a"): STORED, Entry("a", 1): NOTHING})
    rows = read_columns(tmp_path / "fg_locations.parquet", FG_LOCATIONS)
    places = zip(*(rows[name].tolist() for name in ("location", "level", "y", "x", "anchor")), strict=True)
    assert list(places) == [(1, 0, 0, 0, 1), (9, 0, 1, 1, 1), (12, 1, 0, 0, 0)]
    levels = read_columns(tmp_path / "images.parquet", LEVEL_IMAGES)
    names = ("view", "level", "stride", "feature_height", "feature_width", "anchors", "fg", "ignored", "gt_boxes")
    assert list(zip(*(levels[name].tolist() for name in names), strict=True)) == [
        (0, 0, 8, 2, 3, 2, 2, 1, 3),
        (0, 1, 16, 1, 1, 1, 1, 0, 3),
        (1, 0, 8, 2, 3, 2, 0, 0, 3),
        (1, 1, 16, 1, 1, 1, 0, 0, 3),
    ]


SIZES = [(64, 96), (96, 64)]
TRUTHS = [
    Truth(np.array([[4, 4, 44, 44], [50, 8, 90, 60]], np.float32), np.array([1, 3]), np.zeros((0, 4), np.float32)),
    Truth(np.array([[8, 20, 60, 90]], np.float32), np.array([2]), np.array([[0, 0, 30, 16]], np.float32)),
]


def batch(family: Family, images: list[int]) -> BatchTargets:
    """The targets of some of the two images above."""
    sizes = [SIZES[i] for i in images]
    assigned = []
    for size, truth in zip(sizes, (TRUTHS[i] for i in images), strict=True):
        grid = family.head.locations.of(*size)
        own = assign(family.targets, truth, grid, size, family.params)  # type: ignore[arg-type]
        fg = np.flatnonzero(own.labels > 0)
        bits = np.packbits(own.labels < 0)
        assigned.append(StoredAssignment(fg, own.labels[fg], own.matched_gt[fg], own.quality[fg], bits, grid))
    padded = family.head.locations.of(max(high for high, _ in sizes), max(wide for _, wide in sizes))
    return put_together(assigned, [TRUTHS[i] for i in images], sizes, padded)


def test_locations_in_the_padding_are_ignored_and_all_others_as_without_padding(family: Family) -> None:
    both = batch(family, [0, 1])
    assert both.labels.shape == (2, len(family.head.locations.of(96, 96)))
    for image, size in enumerate(SIZES):
        alone = batch(family, [image])
        inside = torch.from_numpy(alone.grid.within(both.grid))
        assert both.labels[image, inside].tolist() == alone.labels[0].tolist()
        outside = torch.ones(len(both.grid), dtype=torch.bool)
        outside[inside] = False
        assert both.labels[image, outside].unique().tolist() == [-1]
        assert alone.labels.shape == (1, len(family.head.locations.of(*size)))
    assert both.labels.flatten()[both.fg].tolist() == both.labels[both.labels > 0].tolist()
    assert torch.equal(both.fg_boxes, torch.cat([batch(family, [image]).fg_boxes for image in (0, 1)]))
    assert [own.tolist() for own in both.gt_labels] == [[1, 3], [2]]
    assert (batch(family, [1]).labels == -1).any(), "a location in the region"


def test_cells_beyond_a_thin_image_are_padding(family: Family) -> None:
    """Its maps have as many cells as those of an image of 32 px, of which the 9 px have one row a level."""
    locations, truth = family.head.locations, Truth(TRUTHS[0].boxes[:1] / 8, np.array([1]), TRUTHS[0].regions)
    grid, maps = locations.of(9, 64), locations.of_maps(9, 64)
    assert grid.cells == ((1, 8), (1, 4), (1, 2)) and maps.cells == ((4, 8), (2, 4), (1, 2))
    own = assign(family.targets, truth, grid, (9, 64), family.params)  # type: ignore[arg-type]
    fg = np.flatnonzero(own.labels > 0)
    bits = np.packbits(own.labels < 0)
    stored_one = StoredAssignment(fg, own.labels[fg], own.matched_gt[fg], own.quality[fg], bits, grid)
    together = put_together([stored_one], [truth], [(9, 64)], maps)
    row = maps.places(np.arange(len(maps))).y
    assert (together.labels[0].numpy() == -1).tolist() == (row > 0).tolist()


def test_losses_of_padded_images_are_those_of_the_images_alone(family: Family) -> None:
    """Whatever the head says in the padding. The family divides by the fg locations of the batch."""
    both = batch(family, [0, 1])
    draw = torch.Generator().manual_seed(1)
    padded = {
        "classes": torch.randn(2, len(both.grid), 3, generator=draw) * 3,
        "edges": torch.randn(2, len(both.grid), 4, generator=draw),
    }
    losses = family.train.losses(family.head, padded, both, family.params)
    total = dict.fromkeys(losses, 0.0)
    for image in (0, 1):
        alone = batch(family, [image])
        inside = torch.from_numpy(alone.grid.within(both.grid))
        own = {name: value[image : image + 1, inside] for name, value in padded.items()}
        for name, loss in family.train.losses(family.head, own, alone, family.params).items():
            total[name] += float(loss) * len(alone.fg) / len(both.fg)
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(total, rel=1e-5)
    assert all(loss > 0 for loss in total.values())


def test_images_without_objects_have_losses_and_gradients(family: Family) -> None:
    grid = family.head.locations.of(64, 64)
    empty = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    nothing = StoredAssignment(
        *(np.zeros(0, np.int64) for _ in range(3)),
        np.zeros(0, np.float32),
        np.packbits(np.zeros(len(grid), bool)),
        grid,
    )
    targets = put_together([nothing], [empty], [(64, 64)], grid)
    outputs = {"classes": torch.zeros(1, len(grid), 3), "edges": torch.zeros(1, len(grid), 4)}
    for value in outputs.values():
        value.requires_grad_()
    losses = family.train.losses(family.head, outputs, targets, family.params)
    sum(losses.values()).backward()
    assert losses["points_box"] == 0 and losses["points_class"] > 0
    assert all(value.grad is not None and value.grad.isfinite().all() for value in outputs.values())


def test_targets_of_other_locations_than_the_heads_are_told(tmp_path: Path) -> None:
    write_table(
        tmp_path / "boxes.parquet",
        RESIZED_BOXES,
        {
            "image_id": ["a"],
            "view": [0],
            **box_columns(np.array([[1, 2, 9, 9]])),
            "label": [1],
            "difficult": [False],
            "iscrowd": [False],
        },
    )
    targets = stored(tmp_path / "points_targets", {Entry("a"): replace(STORED, matched_gt=np.zeros(3, np.int64))})
    layout = MapLayout((Level(8, 4), Level(16, 4)))
    gt = GroundTruth(tmp_path)
    own = TargetSource(targets, gt, Locations(layout, (2, 1))).of([Entry("a")], [(16, 24)])
    assert own.labels.tolist() == [STORED.dense_labels.tolist()]
    with pytest.raises(
        InputError, match=r"points_targets: has targets of a at 13 locations .*dvc repro points_targets"
    ):
        TargetSource(targets, gt, Locations(layout, (1, 1))).of([Entry("a")], [(16, 24)])


def test_training_on_mirrors_of_which_there_are_no_targets_is_told(tmp_path: Path) -> None:
    targets = stored(tmp_path / "points_targets", {Entry("a"): STORED})
    targets.check_has([Entry("a")])
    for lacking, name in ((Entry("a", 1), "a.mirrored"), (Entry("b"), "b")):
        with pytest.raises(
            InputError, match=rf"points_targets: has no targets of {name}; .*base\.mirror .*dvc repro points_targets"
        ):
            targets.check_has([Entry("a"), lacking])
        nothing: Any = None
        with pytest.raises(InputError, match=rf"has no targets of {name}"):
            TargetSource(targets, nothing, nothing).of([lacking], [(16, 24)])
