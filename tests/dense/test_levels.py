"""A head or locations that lack a level or a method are told in one line with the family's module or class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.building.layout import map_layout
from pipeline.dense.building import new_head
from pipeline.dense.head import DenseHead
from pipeline.dense.maps import outputs_of
from pipeline.feeding.views import Views
from pipeline.geometry.points import Locations
from pipeline.nn.points import in_one_row
from pipeline.runtime.errors import InputError
from tests.dense.conftest import Family


@pytest.mark.parametrize(
    ("methods", "missing"),
    [({}, "initialise"), ({"forward": print}, "initialise"), ({"initialise": print}, "forward")],
)
def test_a_head_without_a_method(family: Family, methods: dict[str, Any], missing: str) -> None:
    head = type("Odd", (DenseHead,), methods)
    part: Any = SimpleNamespace(build_head=lambda *_: head(family.head.locations), __name__="odd.train_dense")
    with pytest.raises(InputError, match=rf"^odd\.train_dense: Odd has no method {missing}; see docs/families\.md$"):
        new_head(part, map_layout(family.params.backbone), 4, family.params)


@pytest.mark.parametrize("per_cell", [(), (1, 1, 1, 1), (0,)])
def test_locations_of_other_levels(family: Family, per_cell: tuple[int, ...]) -> None:
    layout = map_layout(family.params.backbone)
    part: Any = SimpleNamespace(build_head=lambda *_: Locations(layout, per_cell), __name__="odd.train_dense")
    with pytest.raises(InputError, match=r"^odd\.train_dense: per_cell \(.*\): give a number from 1 for each level"):
        new_head(part, layout, 4, family.params)


class Fewer(DenseHead):
    """Of one level, whatever its locations."""

    def forward(self, maps: Any) -> dict[str, Tensor]:
        return {"classes": in_one_row(maps[:1], self.locations.per_cell)}


def test_a_head_that_gives_fewer_maps_than_its_locations_have_levels(family: Family) -> None:
    views = Views([], [(64, 64)], images=torch.zeros((1, 3, 64, 64), dtype=torch.uint8))
    with pytest.raises(InputError, match=r"^tests\.dense\.test_levels: Fewer: maps of 1 levels, and locations of 3: "):
        outputs_of(family.trunk, Fewer(family.head.locations), views)


def test_they_are_told_by_the_stage_of_targets_too(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    import stages.dense_targets as module

    layout = map_layout(family.params.backbone)
    part = SimpleNamespace(locations=lambda *_: Locations(layout, ()), assign=print, __name__="odd.dense_targets")
    for name in ("ResizedImages", "GroundTruth"):
        monkeypatch.setattr(module, name, lambda *_: [])
    stage: Any = SimpleNamespace(part=part, params=family.params, input=print)
    with pytest.raises(InputError, match=r"^odd\.dense_targets: per_cell \(\): give a number from 1 for each level"):
        module.dense_targets(stage)
