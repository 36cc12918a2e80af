"""Layers, initial weights and inputs as common tutorials have them, beside what is right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead, take_classifier
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.geometry.pooling import Pooling
from pipeline.nn.backbones.build import build_trunk
from tests.errata.conftest import Page
from tests.layouts import one_level

ROI = torch.tensor([[0.0, 0, 31, 31]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh_linear(inputs: int, outputs: int) -> nn.Linear:
    """With the library's default weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return nn.Linear(inputs, outputs)


def small_head(dropout: float = 0.0, hidden: int = 256) -> RoIHead:
    """Fresh weights; 8 maps pooled to 2 x 2 make 32 features."""
    head = FcHead(one_level(16, 8), 3, Pooling("roi_pool", 2), hidden=hidden, dropout=dropout)
    head.initialise_hidden(generator())
    head.initialise_outputs(generator(1))
    return head


def hidden_of(head: RoIHead, maps: Tensor, layer: str = "cls_score") -> Tensor:
    """What a layer of the head is given."""
    seen: list[Tensor] = []
    handle = head.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    head([maps], [ROI] * len(maps))
    handle.remove()
    return seen[0]


def test_rpn_relu_is_what_keeps_the_rpn_from_being_one_linear_map(errata: Page) -> None:
    head = RPNHead(1, 1, 1)
    with torch.no_grad():
        for name, weight in head.named_parameters():
            weight.fill_(0 if name.endswith("bias") else 1)
        maps = torch.ones(1, 1, 3, 3)
        wrong = [float(head.bbox_pred(head.conv(x))[0, 0, 1, 1]) for x in (maps, -maps)]
        right = [float(head([x])[1][0][0, 1, 1, 0, 0]) for x in (maps, -maps)]
    assert (wrong, right) == ([9, -9], [9, 0])
    errata.quotes("rpn-relu", "9 and -9", "9 and 0")


def test_fc_relu_is_what_makes_two_layers_more_than_one(errata: Page) -> None:
    """Without it the answer to a negated input is the negated answer, and one matrix does the work of two."""
    head, x = small_head(), torch.randn(16, 32, generator=generator(2))
    with torch.no_grad():
        linear = head.fc7(head.fc6(x))
        as_one = x @ (head.fc7.weight @ head.fc6.weight).T
        maps = x.reshape(16, 8, 2, 2)
        right = [hidden_of(head, maps, layer) + hidden_of(head, -maps, layer) for layer in ("fc7", "cls_score")]
    torch.testing.assert_close(linear, as_one, rtol=1e-4, atol=1e-4)
    wrong = linear + head.fc7(head.fc6(-x)).detach()
    assert float(wrong.abs().max()) < 1e-5
    assert [bool((answer.min() >= 0) & (answer.max() > 1)) for answer in right] == [True, True]
    weights = [25_088 * 4_096 + 4_096 * 4_096, 25_088 * 4_096]
    errata.quotes("fc-relu", *(f"{number:,}" for number in weights))


def test_no_dropout_uses_all_units_of_fc6_and_fc7_in_training_and_dropout_half(errata: Page) -> None:
    maps = torch.rand(64, 8, 2, 2, generator=generator(3))
    shares = []
    for dropout in (0.0, 0.5):
        head = small_head(dropout)
        with torch.no_grad():
            all_units = hidden_of(head.eval(), maps)
            head.drop6.keep = 1.0  # so that fc7 sees the same inputs
            head.train().seed_dropout(generator(4))
            dropped = hidden_of(head, maps)
        active = all_units > 0
        shares.append(float((dropped[active] == 0).float().mean()))
        kept = dropped[active] != 0
        torch.testing.assert_close(dropped[active][kept], all_units[active][kept] / (1 - dropout))
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.5, abs=0.02)
    errata.quotes("no-dropout", "0", "0.5")


def test_fc_random_features_have_nothing_of_the_pretrained_ones(errata: Page) -> None:
    """Cosine between fc6's answers and those of the classifier that the trunk was trained with."""
    classifier, maps = small_head(), torch.randn(64, 32, generator=generator(5))
    fresh = fresh_linear(32, 256)
    head = FcHead(one_level(16, 8), 3, Pooling("roi_pool", 2), hidden=256, dropout=0.0)
    assert take_classifier(head, classifier.state_dict())
    wanted = classifier.fc6(maps).detach().flatten()
    wrong, right = (
        float(functional.cosine_similarity(layer(maps).detach().flatten(), wanted, dim=0))
        for layer in (fresh, head.fc6)
    )
    assert torch.equal(head.fc7.weight, classifier.fc7.weight)
    assert right == pytest.approx(1)
    assert abs(wrong) < 0.05
    errata.quotes("fc-random", "0.0", "1.0")


def test_init_std_of_001_moves_boxes_ten_times_as_far_before_any_training(errata: Page) -> None:
    head = small_head(hidden=1024)
    activations = torch.randn(256, 1024, generator=generator(6)).relu()
    default = fresh_linear(1024, 3)
    with torch.no_grad():
        right = float((activations @ head.bbox_pred.weight.T).std())
        cls_std = float(head.cls_score.weight.std())
        wrong_layer = torch.randn(12, 1024, generator=generator(7)) * 0.01
        wrong = float((activations @ wrong_layer.T).std())
    assert wrong / right == pytest.approx(10, rel=0.1)
    assert cls_std == pytest.approx(0.01, rel=0.05)
    assert default.bias.any() and not head.cls_score.bias.any()
    errata.quotes("init-std", "0.01", "0.001", "10")


def test_to_tensor_only_gives_inputs_of_another_mean_and_a_quarter_of_the_contrast(errata: Page) -> None:
    trunk = build_trunk("tiny", frozen_stages=2, ceil_pool=False)
    noise = torch.randn(1, 3, 128, 128, generator=generator(8))
    photo = noise * trunk.pixel_std.reshape(1, 3, 1, 1) + trunk.pixel_mean.reshape(1, 3, 1, 1)
    images = (photo * 255).round().clamp(0, 255).to(torch.uint8)
    wrong, right = images.float() / 255, trunk.normalise(images, [(128, 128)])
    assert float(wrong.mean()) == pytest.approx(0.45, abs=0.01)
    assert float(wrong.std()) == pytest.approx(0.23, abs=0.01)
    assert float(right.mean()) == pytest.approx(0, abs=0.02)
    assert float(right.std()) == pytest.approx(1, abs=0.05)
    errata.quotes("to-tensor-only", f"{float(wrong.mean()):.2f}", f"{float(wrong.std()):.2f}", "0", "1")
