"""What params.yaml may not say of an SSD: a line that names the parameter and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.runtime.errors import InputError
from tests.ssd_models import SSD512, ssd_params


def test_both_sizes_are_taken() -> None:
    assert ssd_params().resize.fixed_width == 300
    assert ssd_params(SSD512).resize.fixed_width == 512
    ssd_params(SSD512, {"backbone": {"size_divisible": 32}})


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        (
            {"resize": {"fixed_height": 512}},
            "resize.fixed_width 300 and resize.fixed_height 512 are not the size that backbone.neck.name ssd300 takes; "
            "set both to 300",
        ),
        (
            {**SSD512, "resize": {"fixed_width": 300}},
            "resize.fixed_width 300 and resize.fixed_height 300 are not the size that backbone.neck.name ssd512 takes; "
            "set both to 512",
        ),
        ({"resize": {"rule": "shorter_side"}}, "resize.rule is shorter_side, and SSD's default boxes are shares of"),
        (
            {"backbone": {"name": "resnet50"}},
            "parameter backbone: neck 'ssd300' stands on the maps of vgg16; set neck.name to none, or name to one of "
            "them, not resnet50",
        ),
        ({"backbone": {"ceil_pool": False}}, "neck 'ssd300' has its levels where poolings round up; set ceil_pool to"),
        ({"backbone": {"neck": {"norm": "batch"}}}, "neck 'ssd300' has no batch norm; set neck.norm to none"),
        ({"backbone": {"size_divisible": 32}}, "takes images of 300 x 300 px alone, and size_divisible 32 pads them"),
        (
            {"backbone": {"neck": {"name": "none"}}},
            "ssd.ratios has lists for 6 levels, and the trunk of backbone.name vgg16 and backbone.neck.name none has "
            "1, of strides 16; give ssd.ratios 1 lists and ssd.scales 2 numbers, or choose another neck",
        ),
        ({"ssd": {"scales": [0.1, 0.2]}}, "parameter ssd: scales has 2 numbers and ratios 6 lists; give scales one"),
        ({"ssd": {"ratios": [[0.5]] * 6}}, "parameter ssd.ratios.0.0: input should be greater than 1, got 0.5"),
        ({"ssd": {"variances": [0.1, 0.1, 0.2, 0.0]}}, "variances should be greater than 0"),
        ({"ssd": {"bg_iou": 0.6}}, "parameter ssd: bg_iou 0.6 is above fg_iou 0.5; lower the first"),
        ({"detect_ssd": {"score_threshold": 0.1}}, "detect_ssd.score_threshold 0.1 is above evaluate.score_threshold"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(overlay: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        ssd_params(overlay)
    assert said in str(error.value) and "\n" not in str(error.value)
