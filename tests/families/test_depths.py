"""A neck whose levels have several depths, under families whose heads have the same weights on all levels."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.runtime.errors import InputError
from tests.families.family_project import family_params

SSD_TINY: dict[str, Any] = {"ceil_pool": True, "neck": {"name": "ssd_tiny"}}


@pytest.mark.parametrize("family", ["faster_rcnn", "faster_rcnn_joint", "retinanet", "fcos"])
@pytest.mark.parametrize(
    "backbone", [SSD_TINY, {**SSD_TINY, "name": "vgg16", "weights": "random", "neck": {"name": "ssd300"}}]
)
def test_levels_of_several_depths_are_refused_before_anything_runs(family: str, backbone: dict[str, Any]) -> None:
    name = backbone["neck"]["name"]
    with pytest.raises(InputError, match=rf"^test: .* {name} has levels of \d+, .*; choose another neck$"):
        family_params(family, {"backbone": backbone})


def test_ssd_takes_levels_of_several_depths() -> None:
    assert family_params("ssd", {"backbone": SSD_TINY}).backbone.neck.name == "ssd_tiny"
