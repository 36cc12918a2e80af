"""The focal loss against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss as torchvisions

from pipeline.nn.focal_loss import sigmoid_focal_loss


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.5), (1.0, 1.0)])
def test_it_is_torchvisions(alpha: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 3, generator=generator, dtype=torch.float64) * 4
    targets = (torch.rand(50, 3, generator=generator) > 0.5).double()
    own, theirs = (function(logits, targets, alpha, gamma) for function in (sigmoid_focal_loss, torchvisions))
    torch.testing.assert_close(own, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("targets", [[1.0, 0.0], [0.0, 1.0]])
def test_far_logits_leave_it_finite(gamma: float, targets: list[float]) -> None:
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor(targets), 0.25, gamma)
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
