"""The losses against float64 NumPy references written down from the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.nn.smooth_l1 import smooth_l1
from pipeline.runtime.seeding import numpy_generator


def reference_smooth_l1(x: np.ndarray, sigma: float) -> np.ndarray:
    """0.5 (sigma x)^2 where |x| < 1 / sigma^2, |x| - 0.5 / sigma^2 elsewhere."""
    return np.where(np.abs(x) < 1 / sigma**2, 0.5 * (sigma * x) ** 2, np.abs(x) - 0.5 / sigma**2)


def reference_log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_smooth_l1_is_quadratic_within_one_over_sigma_squared(sigma: float) -> None:
    x = np.linspace(-3, 3, 201)
    np.testing.assert_allclose(smooth_l1(torch.from_numpy(x), sigma).numpy(), reference_smooth_l1(x, sigma), rtol=1e-12)


def test_rpn_losses_of_two_images_are_the_papers_with_each_image_over_its_own_samples() -> None:
    """Image 0: 2 fg and 3 bg; image 1: 1 fg and 6 bg; the fg of both stand first."""
    draw = numpy_generator(0, "rpn losses")
    scores = draw.normal(size=(12, 2))  # bg, fg
    is_fg = np.array([1, 1, 1, *[0] * 9])
    samples = np.array([5, 5, 7, 5, 5, 5, 7, 7, 7, 7, 7, 7])
    predicted, wanted = draw.normal(size=(3, 4)), draw.normal(size=(3, 4))
    cross_entropy = -reference_log_softmax(scores)[np.arange(12), is_fg]
    expected = (cross_entropy / samples / 2).sum()
    expected_box = (reference_smooth_l1(predicted - wanted, 3.0).sum(axis=1) / samples[:3] / 2).sum()
    classification, box = rpn_losses(
        torch.from_numpy(scores[:, 1] - scores[:, 0]),
        torch.from_numpy(is_fg).double(),
        torch.from_numpy(predicted),
        torch.from_numpy(wanted),
        torch.from_numpy(1 / samples / 2),
        3.0,
    )
    assert float(classification) == pytest.approx(expected, rel=1e-12)
    assert float(box) == pytest.approx(expected_box, rel=1e-12)


def test_l1_box_loss_of_the_rpn_is_the_sum_of_absolute_differences() -> None:
    draw = numpy_generator(0, "rpn losses")
    predicted, wanted, weight = draw.normal(size=(3, 4)), draw.normal(size=(3, 4)), np.array([0.5, 0.25, 1])
    given = [torch.from_numpy(own) for own in (np.zeros(3), np.ones(3), predicted, wanted, weight)]
    _, box = rpn_losses(*given, 3.0, "l1")
    assert float(box) == pytest.approx((np.abs(predicted - wanted).sum(axis=1) * weight).sum(), rel=1e-12)


def test_rpn_box_loss_of_an_image_without_fg_is_0() -> None:
    objectness, nothing = torch.zeros(4), torch.zeros(0, 4)
    classification, box = rpn_losses(objectness, torch.zeros(4), nothing, nothing, torch.full((4,), 0.25), 3.0)
    assert float(classification) == pytest.approx(np.log(2))
    assert float(box) == 0


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 2.0, None])
def test_roi_losses_are_the_papers_over_the_number_of_rois_with_the_labels_deltas_alone(
    sigma: float | None, agnostic: bool
) -> None:
    """No sigma is L1; a class-agnostic head predicts the same deltas for every label."""
    draw = numpy_generator(0, "roi losses")
    logits, deltas, wanted = draw.normal(size=(6, 4)), draw.normal(size=(6, 4, 4)), draw.normal(size=(6, 4))
    labels = np.array([3, 0, 1, 0, 0, 3])
    wanted[labels == 0] = np.nan  # not to be read
    expected = -reference_log_softmax(logits)[np.arange(6), labels].mean()
    if agnostic:
        deltas = deltas[:, :1]
    differences = [deltas[i, 0 if agnostic else labels[i]] - wanted[i] for i in (0, 2, 5)]
    of_each = [np.abs(own) if sigma is None else reference_smooth_l1(own, sigma) for own in differences]
    expected_box = sum(own.sum() for own in of_each) / 6
    classification, box = roi_losses(
        torch.from_numpy(logits),
        torch.from_numpy(labels),
        torch.from_numpy(deltas),
        torch.from_numpy(wanted),
        sigma,
    )
    assert float(classification) == pytest.approx(expected, rel=1e-12)
    assert float(box) == pytest.approx(expected_box, rel=1e-12)


def test_roi_losses_of_no_roi_are_0_and_can_be_differentiated() -> None:
    """An image without a gt box has no RoI where the background has a lower bound."""
    logits, deltas = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3, 4, requires_grad=True)
    losses = roi_losses(logits, torch.zeros(0, dtype=torch.int64), deltas, torch.zeros(0, 4), 1.0)
    assert [loss.item() for loss in losses] == [0, 0]
    sum(losses).backward()


def test_gradients_of_the_rpn_losses_are_those_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(0)
    objectness = torch.randn(5, generator=draw, dtype=torch.float64, requires_grad=True)
    deltas = torch.randn(2, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    is_fg, weight = torch.tensor([1.0, 1, 0, 0, 0]).double(), torch.tensor([0.2, 0.1, 0.2, 0.1, 0.1]).double()
    wanted = torch.randn(2, 4, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o, d: rpn_losses(o, is_fg, d, wanted, weight, 3.0), (objectness, deltas))


def test_gradients_of_the_roi_losses_are_those_of_finite_differences_and_0_for_other_classes() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    deltas = torch.randn(3, 3, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    labels, wanted = torch.tensor([2, 0, 1]), torch.randn(3, 4, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda c, d: roi_losses(c, labels, d, wanted, 1.0), (logits, deltas))
    (gradient,) = torch.autograd.grad(roi_losses(logits, labels, deltas, wanted, 1.0)[1], deltas)
    assert torch.nonzero(gradient.abs().sum(dim=2)).tolist() == [[0, 2], [2, 1]]
