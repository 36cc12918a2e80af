"""State dicts of torchvision's RetinaNet, FCOS and SSD under our names, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import detection

from pipeline.building import torchvision_dense, torchvision_ssd
from pipeline.building.published import published_detector
from pipeline.building.torchvision_dense import NOT_READ, to_torchvision
from pipeline.runtime.errors import InputError

pytestmark = pytest.mark.authority("torchvision")

CLASSES = 4
BUILDERS = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", "ssd300_vgg16")


def of_torchvision(builder: str) -> dict[str, Tensor]:
    """The names and shapes of a model; its weights are zeros, as drawing them takes seconds."""
    with torch.device("meta"):
        model = getattr(detection, builder)(weights=None, weights_backbone=None, num_classes=CLASSES)
    return {name: torch.zeros(own.shape) for name, own in model.state_dict().items()}


@pytest.fixture(scope="module", params=BUILDERS)
def given(request: pytest.FixtureRequest) -> tuple[str, dict[str, Tensor]]:
    builder = str(request.param)
    return builder, of_torchvision(builder)


def test_each_is_recognised_with_what_it_needs(given: tuple[str, dict[str, Tensor]]) -> None:
    builder, state = given
    found = published_detector(state, "x")
    assert found is not None and found.rows == CLASSES and found.needs.title == f"torchvision's {builder}"
    neck = {"retinanet_resnet50_fpn_v2": "c5"}.get(builder, "p5")
    if builder == "ssd300_vgg16":
        assert found.needs.backbone == {"name": "vgg16", "neck.name": "ssd300"}
        assert found.needs.of_heads() == "resize.fixed_width 300, resize.fixed_height 300"
    else:
        own = {"name": "resnet50", "neck.name": "fpn_p3_p7", "neck.channels": 256, "neck.p6_from": neck}
        assert found.needs.backbone == own
        norm = "none" if builder == "retinanet_resnet50_fpn" else "group"
        family = builder.partition("_")[0]
        heads = f"{family}.norm {norm}, {family}.depth 4, {family}.channels 256"
        own = ", fcos.placement torchvision, fcos.regression relu, fcos.centreness_on box"
        assert found.needs.of_heads() == heads + {"retinanet": " and 9 anchors a location", "fcos": own}[family]


def test_every_weight_comes_back_but_for_the_backgrounds_rows(given: tuple[str, dict[str, Tensor]]) -> None:
    builder, state = given
    numbered = {name: torch.full_like(own, i) for i, (name, own) in enumerate(state.items())}
    found = published_detector(numbered, "x")
    assert found is not None
    trunk, head = (
        {name.removeprefix(part): own for name, own in found.state.items() if name.startswith(part)}
        for part in ("trunk.", "head.")
    )
    if builder == "ssd300_vgg16":
        back = torchvision_ssd.to_torchvision(trunk, head)
    else:
        back = to_torchvision(trunk, head, anchors=found.needs.per_location or 1)
    expected = {name for name in state if not name.endswith("num_batches_tracked")}
    assert back.keys() == expected
    for name in sorted(expected):
        own, wanted = back[name], numbered[name]
        if "cls_logits" in name:
            own, wanted = (value.unflatten(0, (-1, CLASSES)) for value in (own, wanted))
            assert (own[:, 0] == (NOT_READ if name.endswith("bias") else 0)).all()
            own, wanted = own[:, 1:], wanted[:, 1:]
        assert torch.equal(own, wanted), name


def first_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in the published file of RetinaNet, which is older than torchvision's present names."""
    changes: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
        (r"(backbone\.fpn\.\w+_blocks\.\d+)\.0\.(weight|bias)$", r"\1.\2"),
        (r"(head\.\w+\.conv)\.(\d+)\.0\.", lambda found: f"{found[1]}.{2 * int(found[2])}."),
    )
    renamed = dict(state)
    for pattern, name in changes:
        renamed = {re.sub(pattern, name, old): own for old, own in renamed.items()}
    return renamed


def test_older_names_of_retinanet_are_read() -> None:
    state = of_torchvision("retinanet_resnet50_fpn")
    old = first_names(state)
    assert "head.classification_head.conv.6.weight" in old and "backbone.fpn.inner_blocks.0.weight" in old
    one, other = published_detector(old, "x"), published_detector(state, "x")
    assert one is not None and other is not None
    assert one.state.keys() == other.state.keys() and one.needs == other.needs


@pytest.mark.parametrize(
    ("builder", "change", "words"),
    [
        (
            "retinanet_resnet50_fpn",
            ("head.regression_head.bbox_reg.bias", None),
            "'head.regression_head.bbox_reg.bias' is missing",
        ),
        ("fcos_resnet50_fpn", ("head.classification_head.cls_logits.bias", None), "cls_logits.bias' is missing"),
        ("fcos_resnet50_fpn", (None, "body.conv1.weight"), "'body.conv1.weight' has no place"),
        ("ssd300_vgg16", ("head.regression_head.module_list.0.bias", None), "module_list.0.bias' is missing"),
        ("ssd300_vgg16", (None, "backbone.neck.weight"), "'backbone.neck.weight' has no place"),
    ],
)
def test_what_is_not_whole_or_has_more_is_refused(
    builder: str, change: tuple[str | None, str | None], words: str
) -> None:
    state: dict[str, Any] = of_torchvision(builder)
    removed, added = change
    if removed is not None:
        del state[removed]
    if added is not None:
        state[added] = torch.zeros(1)
    with pytest.raises(InputError, match=re.escape(words)):
        published_detector(state, "x")


@pytest.mark.parametrize(
    ("builder", "name"),
    [
        ("retinanet_resnet50_fpn", "head.regression_head.bbox_reg.bias"),
        ("retinanet_resnet50_fpn", "head.classification_head.cls_logits.bias"),
        ("retinanet_resnet50_fpn", "backbone.fpn.extra_blocks.p6.weight"),
        ("fcos_resnet50_fpn", "head.regression_head.bbox_reg.bias"),
        ("ssd300_vgg16", "head.classification_head.module_list.0.bias"),
        ("ssd300_vgg16", "head.regression_head.module_list.0.bias"),
    ],
)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_shapes_that_do_not_fit_are_refused(builder: str, name: str, shape: tuple[int, ...]) -> None:
    state = {**of_torchvision(builder), name: torch.zeros(shape)}
    with pytest.raises(InputError, match="x: its weights have shapes that no detector of torchvision's has"):
        published_detector(state, "x")


def test_an_ssd_of_other_levels_fits_no_network_here() -> None:
    """torchvision's `highres`."""
    state = {**of_torchvision("ssd300_vgg16"), "backbone.extra.5.0.weight": torch.zeros(128, 256, 1, 1)}
    found = published_detector(state, "x")
    assert found is not None and found.needs.backbone["name"] == "another network"


def test_other_state_dicts_are_none() -> None:
    assert published_detector({"conv1.weight": torch.zeros(1)}, "x") is None
    assert not torchvision_dense.is_torchvisions(of_torchvision("ssd300_vgg16"))
