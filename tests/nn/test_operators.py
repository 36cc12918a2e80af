"""The compiled operators without torchvision's package, and with it afterwards in the same process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision.ops

from pipeline.nn.batched_nms import batched_nms
from pipeline.nn.operators import nms

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys, torch
from pipeline.nn import operators
assert "torchvision" not in sys.modules, "the package was imported"

draw = torch.Generator().manual_seed(0)
corners = torch.rand(40, 2, generator=draw) * 60
boxes = torch.cat([corners, corners + 5 + torch.rand(40, 2, generator=draw) * 30], dim=1)
scores = torch.rand(40, generator=draw)
rois = torch.cat([torch.arange(40.0)[:, None] % 2, boxes], dim=1)
maps = torch.randn(2, 3, 12, 12, generator=draw)

def pooled(pool):
    leaf = maps.clone().requires_grad_()
    values = pool(leaf)
    (values * torch.arange(values.numel()).reshape(values.shape)).sum().backward()
    return values.detach(), leaf.grad

own = [
    operators.nms(boxes, scores, 0.4),
    *pooled(lambda leaf: operators.roi_pool(leaf, rois, 0.125, 3)),
    *pooled(lambda leaf: operators.compiled_roi_align(leaf, rois, 0.125, 3, 2)),
]
import torchvision.ops
theirs = [
    torchvision.ops.nms(boxes, scores, 0.4),
    *pooled(lambda leaf: torchvision.ops.roi_pool(leaf, rois, 3, 0.125)),
    *pooled(lambda leaf: torchvision.ops.roi_align(leaf, rois, 3, 0.125, 2, True)),
]
assert 0 < len(own[0]) < 40
assert own[2].any() and own[4].any()
for ours, other in zip(own, theirs, strict=True):
    assert torch.equal(ours, other)
print("equal")
"""


def test_operators_work_without_torchvisions_package_and_equal_its_own_forward_and_backward() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "equal"), done.stderr


@pytest.mark.parametrize("seed", range(5))
def test_batched_nms_equals_torchvisions(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(120, 2, generator=draw) * 100
    boxes = torch.cat([corners, corners + 20 + torch.rand(120, 2, generator=draw) * 60], dim=1)
    scores, groups = torch.rand(120, generator=draw), torch.randint(0, 4, (120,), generator=draw)
    kept = batched_nms(boxes, scores, groups, 0.5, 1000)
    assert kept.tolist() == torchvision.ops.batched_nms(boxes, scores, groups, 0.5).tolist()
    assert len(nms(boxes, scores, 0.5)) < len(kept) < 120


def test_batched_nms_of_no_boxes_keeps_none() -> None:
    kept = batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5, 100)
    assert kept.dtype == torch.int64
    assert len(kept) == 0
