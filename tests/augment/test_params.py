"""The section `augment`: what is refused, and what it may not be with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.params.augment import AugmentParams, augmentation
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.families.drawn_project import DRAWN_TINY
from tests.families.points_project import visible, write_project


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with visible():
        root: Path = write_project(tmp_path_factory.mktemp("points"), DRAWN_TINY)
        yield yaml.safe_load((root / "params.yaml").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"crop": {"min_iou": [0.5]}}}, "min_iou lacks whole"),
        ({"augment": {"crop": {"min_iou": ["whole", 1.5]}}}, "parameter augment.crop.min_iou"),
        *(
            (
                {"augment": {"crop": {"min_iou": ["whole", rule]}}},
                "augment.crop.min_iou.1: write whole, any, or a number",
            )
            for rule in ("some", 0.0, True, "0.5", None, [0.5], float("nan"))
        ),
        ({"augment": {"crop": {"side": [1.0, 0.3]}}}, "augment.crop.side: write the lower end first"),
        ({"augment": {"crop": {"ratio": [0.0, 2.0]}}}, "parameter augment.crop.ratio"),
        ({"augment": {"expand": {"largest": 0.5}}}, "parameter augment.expand.largest"),
        ({"augment": {"expand": {"colour": [256, 0, 0]}}}, "parameter augment.expand.colour"),
        ({"augment": {"photometric": {"contrast": [1.5, 0.5]}}}, "contrast: write the lower end first"),
        ({"augment": {"expand": {"largest": 1e8}}}, "augment.expand.largest: .* less than or equal to 100"),
        ({"augment": {"photometric": {"brightness": 1e308}}}, "photometric.brightness: .* less than or equal to 255"),
        ({"augment": {"photometric": {"contrast": [0.0, 1e300]}}}, "contrast.1: .* less than or equal to 255"),
        ({"augment": {"photometric": {"hue": 181.0}}}, "parameter augment.photometric.hue"),
        ({"augment": {"flip": 1.1}}, "parameter augment.flip"),
        ({"base": {"mirror": True}}, "base.mirror doubles .*; set base.mirror to false, and augment.flip"),
        ({"resize": {"extra_sides": [100]}}, "resize.extra_sides \\[100\\] are views of their own"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(content: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    own = copy.deepcopy(content)
    check_params(own, "params.yaml")
    with pytest.raises(InputError, match=rf"^params\.yaml: .*{message}") as caught:
        check_params(apply_overlay(own, changes), "params.yaml")
    assert "\n" not in str(caught.value)


def test_where_nothing_is_drawn_mirrors_and_other_sides_are_as_ever(content: dict[str, Any]) -> None:
    own = apply_overlay(copy.deepcopy(content), {"base": {"mirror": True}, "resize": {"extra_sides": [100]}})
    for part in ("photometric", "expand"):
        own["augment"][part]["probability"] = 0.0
    own["augment"]["crop"]["min_iou"], own["augment"]["flip"] = ["whole"], 0.0
    section = check_params(own, "params.yaml")["augment"]
    assert isinstance(section, AugmentParams) and not section.draws
    assert augmentation(Params({"augment": section})) is None and augmentation(Params({})) is None
    for changes in ({"flip": 0.1}, {"crop": {"min_iou": ["whole", "any"]}}, {"expand": {"probability": 0.1}}):
        drawing = AugmentParams.model_validate(apply_overlay(copy.deepcopy(own["augment"]), changes))
        assert augmentation(Params({"augment": drawing})) is drawing
