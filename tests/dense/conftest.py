from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from pipeline.building.layout import map_layout
from pipeline.building.trunk import new_trunk
from pipeline.dense.building import new_head
from pipeline.dense.head import DenseHead
from pipeline.dense.network import DenseDetector
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from tests.families.points_project import visible, write_project


class Family(NamedTuple):
    """The made-up family's parts, and a network of fresh weights with the tests' tiny parameters."""

    targets: ModuleType
    train: ModuleType
    detect: ModuleType
    params: Params
    trunk: Trunk
    head: DenseHead
    network: DenseDetector


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    """In float32, with classes that score anything from 0 to 1."""
    with visible():
        from pipeline.families.points import dense_targets, detect_dense, train_dense

        root = write_project(tmp_path_factory.mktemp("points"), {"points": {"channels": 8}})
        params = load_params(root / "params.yaml")
        generator = torch.Generator().manual_seed(0)
        trunk = new_trunk(params.backbone)
        trunk.initialise(generator)
        head = new_head(train_dense, map_layout(params.backbone), 4, params)  # type: ignore[arg-type]
        head.initialise(generator)
        torch.nn.init.normal_(head.classes.weight, std=0.5, generator=generator)
        torch.nn.init.zeros_(head.classes.bias)
        network = DenseDetector(trunk.eval(), head.eval(), detect_dense, params)  # type: ignore[arg-type]
        yield Family(dense_targets, train_dense, detect_dense, params, trunk, head, network)
