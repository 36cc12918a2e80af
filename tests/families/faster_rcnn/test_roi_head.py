"""The RoI head: pooling per image, normalisation that travels with the weights, dropout of its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead, take_classifier
from pipeline.families.faster_rcnn.nn.roi_targets import normalise_deltas
from pipeline.geometry.pooling import Pooling
from pipeline.nn.boxes import decode
from pipeline.nn.dropout import Dropout
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align
from tests.layouts import one_level

ROIS = torch.tensor([[0.0, 0, 40, 40], [16, 16, 90, 60], [5, 30, 64, 96]])


def small_head(dropout: float = 0.5, pool: str = "roi_pool", hidden: int = 16) -> RoIHead:
    """Four maps in, three classes out, with weights that matter."""
    head = FcHead(one_level(16, 4), 3, Pooling(pool, 2), hidden=hidden, dropout=dropout)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in head.parameters():
            weight.normal_(std=0.3, generator=draw)
    return head


def random_maps(images: int = 1) -> Tensor:
    return torch.randn(images, 4, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
def test_outputs_are_those_of_pooling_two_rectified_layers_and_two_linear_ones(pool: str) -> None:
    head, maps = small_head(pool=pool).eval(), random_maps()
    operator = {"roi_pool": roi_pool, "roi_align": roi_align}[pool]
    pooled = operator(maps, torch.cat([torch.zeros(3, 1), ROIS], dim=1), 1 / 16, 2)
    hidden = functional.relu(functional.linear(pooled.flatten(1), head.fc6.weight, head.fc6.bias))
    hidden = functional.relu(functional.linear(hidden, head.fc7.weight, head.fc7.bias))
    logits, deltas = head([maps], [ROIS])
    torch.testing.assert_close(logits, hidden @ head.cls_score.weight.T + head.cls_score.bias)
    torch.testing.assert_close(deltas, (hidden @ head.bbox_pred.weight.T + head.bbox_pred.bias).reshape(3, 3, 4))


def test_rois_of_each_image_pool_from_its_own_map_and_an_image_may_have_none() -> None:
    head, maps = small_head().eval(), random_maps(images=3)
    logits, deltas = head([maps], [ROIS[:2], ROIS[:0], ROIS[2:]])
    first, last = head([maps[:1]], [ROIS[:2]]), head([maps[2:]], [ROIS[2:]])
    torch.testing.assert_close(logits, torch.cat([first[0], last[0]]))
    torch.testing.assert_close(deltas, torch.cat([first[1], last[1]]))


def test_another_normalisation_changes_the_outputs_but_not_the_decoded_boxes() -> None:
    head, maps, draw = small_head().eval(), random_maps(), torch.Generator().manual_seed(2)

    def random_statistics() -> tuple[Tensor, Tensor]:
        return torch.randn(3, 4, generator=draw) * 0.1, torch.rand(3, 4, generator=draw) + 0.1

    with torch.no_grad():
        for _ in range(2):
            before = head([maps], [ROIS])[1]
            boxes = decode(ROIS, head.decode_deltas(before))
            mean, std = random_statistics()
            head.set_normalisation(mean, std)
            after = head([maps], [ROIS])[1]
            assert not torch.allclose(before, after)
            torch.testing.assert_close(decode(ROIS, head.decode_deltas(after)), boxes, rtol=1e-4, atol=1e-2)
    assert torch.equal(head.state_dict()["delta_mean"], mean)
    assert torch.equal(head.state_dict()["delta_std"], std)


def test_a_class_agnostic_head_gives_every_class_the_same_box_and_keeps_it_under_another_normalisation() -> None:
    head = FcHead(one_level(16, 4), 3, Pooling("roi_pool", 2), hidden=8, dropout=0.0, class_agnostic=True).eval()
    head.initialise_hidden(torch.Generator().manual_seed(0))
    nn.init.normal_(head.bbox_pred.weight, generator=torch.Generator().manual_seed(1))
    maps = random_maps()
    boxes = []
    with torch.no_grad():
        for mean, std in ((0.0, 1.0), (0.1, 0.2), (-0.3, 0.5)):
            head.set_normalisation(torch.full((3, 4), mean), torch.full((3, 4), std))
            logits, deltas = head([maps], [ROIS])
            assert logits.shape == (3, 3) and deltas.shape == (3, 1, 4)
            decoded = head.decode_deltas(deltas)
            assert decoded.shape == (3, 3, 4) and torch.equal(decoded[:, 1], decoded[:, 2])
            boxes.append(decode(ROIS, decoded))
    assert (boxes[0] - ROIS[:, None]).abs().max() > 1
    for other in boxes[1:]:
        torch.testing.assert_close(other, boxes[0], rtol=1e-4, atol=1e-2)


def test_normalised_deltas_decode_to_themselves_and_background_rows_are_0() -> None:
    head, draw = small_head(), torch.Generator().manual_seed(3)
    mean, std = torch.randn(3, 4, generator=draw), torch.rand(3, 4, generator=draw) + 0.1
    head.set_normalisation(mean, std)
    deltas, labels = torch.randn(4, 4, generator=draw), torch.tensor([2, 0, 1, -1])
    normalised = normalise_deltas(deltas, labels, mean, std)
    decoded = head.decode_deltas(normalised[:, None].expand(4, 3, 4))
    torch.testing.assert_close(decoded[[0, 2], [2, 1]], deltas[[0, 2]])
    assert not normalised[[1, 3]].any()


def test_dropout_masks_come_from_the_heads_generator_and_leave_the_global_state_alone() -> None:
    head, maps = small_head(hidden=256).train(), random_maps()

    def outputs(seed: int, global_seed: int) -> Tensor:
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        head.seed_dropout(torch.Generator().manual_seed(seed))
        logits = head([maps], [ROIS])[0]
        assert torch.equal(torch.get_rng_state(), before)
        return logits

    assert torch.equal(outputs(seed=1, global_seed=1), outputs(seed=1, global_seed=2))
    assert not torch.equal(outputs(seed=1, global_seed=1), outputs(seed=2, global_seed=1))


def test_dropout_zeroes_with_its_probability_and_scales_up_the_rest() -> None:
    dropout = Dropout(0.25)
    dropout.generator = torch.Generator().manual_seed(0)
    ones = torch.ones(100_000)
    dropped = dropout(ones)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 4 / 3])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(dropout.eval()(ones), ones)


def test_both_hidden_layers_are_dropped_and_neither_in_evaluation_mode() -> None:
    head, maps, hidden = small_head(hidden=256), random_maps(), []
    for layer in (head.fc7, head.cls_score):
        layer.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    head.train().seed_dropout(torch.Generator().manual_seed(0))
    head([maps], [ROIS])
    dropped = [float((values == 0).float().mean()) for values in hidden]
    hidden.clear()
    head.eval()([maps], [ROIS])
    kept = [float((values == 0).float().mean()) for values in hidden]
    # A rectified layer already has zeros; half of the other values are dropped on top of them.
    assert dropped[0] == pytest.approx((1 + kept[0]) / 2, abs=0.05)
    assert dropped[1] > kept[1] + 0.1


def test_fc6_and_fc7_of_a_classifier_of_the_same_shape_are_taken_and_nothing_else() -> None:
    head, other = small_head(), small_head()
    nn.init.constant_(other.cls_score.weight, 7)
    for layer in (other.fc6, other.fc7):
        nn.init.constant_(layer.weight, 5)
        nn.init.constant_(layer.bias, 6)
    before = head.cls_score.weight.clone()
    assert take_classifier(head, other.state_dict())
    for name in ("fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias"):
        assert torch.equal(head.state_dict()[name], other.state_dict()[name])
    assert torch.equal(head.cls_score.weight, before)


@pytest.mark.parametrize("fault", ["of another shape", "missing", "none at all"])
def test_a_classifier_that_does_not_fit_leaves_the_head_as_it_was(fault: str) -> None:
    head = small_head()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items() if name.startswith("fc")}
    if fault == "of another shape":
        state["fc7.weight"] = torch.zeros(16, 17)
    elif fault == "missing":
        del state["fc7.bias"]
    else:
        state = {}
    assert not take_classifier(head, state)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_fresh_outputs_have_the_papers_deviations() -> None:
    head = small_head(hidden=1024)
    head.initialise_outputs(torch.Generator().manual_seed(0))
    assert head.cls_score.weight.detach().std().item() == pytest.approx(0.01, rel=0.05)
    assert head.bbox_pred.weight.detach().std().item() == pytest.approx(0.001, rel=0.05)
    assert not head.cls_score.bias.any() and not head.bbox_pred.bias.any()


def test_images_of_many_numbers_of_rois_meet_few_sizes_of_products_and_get_the_same_figures() -> None:
    head = FcHead(one_level(16, 8), 3, Pooling("roi_align", 3), hidden=16, dropout=0.5).eval()
    head.initialise_hidden(torch.Generator().manual_seed(0))
    head.initialise_outputs(torch.Generator().manual_seed(1))
    draw = torch.Generator().manual_seed(2)
    maps = torch.randn(1, 8, 10, 10, generator=draw)
    corners = torch.rand(70, 2, generator=draw) * 80
    rois = torch.cat([corners, corners + 40], dim=1)
    rows: list[int] = []
    head.fc6.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    with torch.no_grad():
        found = {count: head([maps], [rois[:count]]) for count in (0, 1, 63, 64, 70)}
    assert rows == [0, 64, 64, 64, 128]
    for count, (logits, deltas) in found.items():
        assert logits.shape == (count, 3) and deltas.shape == (count, 3, 4)
        torch.testing.assert_close(logits, found[70][0][:count])
        torch.testing.assert_close(deltas, found[70][1][:count])
    rows.clear()
    head.train()([maps], [rois])
    assert rows == [70]
