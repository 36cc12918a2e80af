"""The comparison with torchvision's dense detectors on photos: what is compared, and that a difference is seen."""

from __future__ import annotations

import pytest
import torch

from benchmarks.dense_parity import NAMES, both, compared, params_for


def test_networks_are_compared_with_the_published_parameters() -> None:
    assert NAMES == ("retinanet", "retinanet_v2", "fcos", "ssd300")
    assert params_for("retinanet", 300).resize.longer_side == 500
    assert params_for("ssd300", 300).resize.rule == "fixed"
    assert params_for("fcos", 300).detect_fcos.per_image == 10_000


@pytest.mark.long
@pytest.mark.authority("torchvision")
def test_what_differs_is_seen() -> None:
    own = both("fcos", 128, torch.device("cpu"))
    pixels = torch.randint(0, 256, (3, 128, 160), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    gaps, pairs = compared(own, pixels)
    assert max(gaps.values()) < 1e-5 and len(gaps) == 3 and pairs.count > 20 and not pairs.unpaired
    with torch.no_grad():
        own.theirs.head.regression_head.bbox_reg.bias.add_(0.1)
    gaps, pairs = compared(own, pixels)
    assert gaps["boxes"] > 1e-3 and pairs.unexplained
