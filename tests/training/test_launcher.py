"""Weights rounded once for inference give the bits that autocast gives."""

from __future__ import annotations

import pytest
import torch

from pipeline.detector.backbone import build_trunk
from pipeline.params import Base
from pipeline.training.launcher import for_inference, launch


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_maps_are_those_of_unrounded_weights_under_autocast(precision: str) -> None:
    base = Base(seed=0, threads=torch.get_num_threads(), precision=precision, mirror=False)
    accelerator = launch(base)
    images = torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    found = []
    for ready in (lambda trunk: trunk, lambda trunk: for_inference(trunk, accelerator)):
        trunk = build_trunk("tiny", frozen_blocks=2, ceil_pool=False).eval()
        trunk.initialise(torch.Generator().manual_seed(0))
        with torch.inference_mode(), accelerator.autocast():
            found.append(ready(trunk)(images))
    assert torch.equal(*found)
    assert {weight.dtype for weight in trunk.layers[0].parameters()} == {
        torch.bfloat16 if precision == "bf16" else torch.float32
    }
