"""What a family's head, losses and decoder give is checked, and told in one line with their module."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.dense.building import new_head
from pipeline.dense.detection_checks import check_detections
from pipeline.dense.head import check_outputs
from pipeline.dense.loss_checks import check_losses
from pipeline.dense.network import DenseDetector, OfImage
from pipeline.nn.dropout import Dropout
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.runtime.errors import InputError
from tests.dense.conftest import Family

ONE = torch.ones((), requires_grad=True)
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "nothing; give scalars by name"),
        (None, "None; give scalars by name"),
        ([ONE], "a list; give scalars by name"),
        ({"one": ONE, "two": ONE[None]}, r"'two' of shape \(1,\); give scalars by name"),
        ({"one": ONE, "two": None}, "'two' as None; give scalars by name"),
        ({"one": 1.0}, "'one' as a float; give scalars by name"),
        ({1: ONE}, "a loss by the name 1; name it by text"),
        ({"one": ONE.bfloat16()}, r"'one' of torch\.bfloat16 on cpu; give torch\.float32 on cpu"),
        ({"one": ONE.detach()}, "'one' without a gradient; "),
        ({"one": ONE, "two": ONE.detach()}, "'two' without a gradient; "),
        *(
            ({name: ONE}, rf"a loss by the name '{name}', which is another column of history\.csv; name it otherwise")
            for name in ("iteration", "lr", "loss")
        ),
    ],
)
def test_losses_that_cannot_be_trained_on_are_told(losses: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"^odd\.train_dense: losses gave {message}"):
        check_losses(losses, CPU, "odd.train_dense", has_fg=True)


def test_a_batch_without_objects_may_have_a_loss_without_a_gradient() -> None:
    losses = {"one": ONE, "two": torch.zeros(())}
    assert check_losses(losses, CPU, "odd", has_fg=False) == losses
    with pytest.raises(InputError, match="'two' without a gradient"):
        check_losses({"two": torch.zeros(())}, CPU, "odd", has_fg=False)


BOXES = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 1.0, 9.0, 9.0]])
RIGHT = DetectedBoxes(BOXES, torch.tensor([1.0, 0.5]), torch.tensor([1, 2]))


def changed(**parts: Any) -> DetectedBoxes:
    return DetectedBoxes(**{"boxes": RIGHT.boxes, "scores": RIGHT.scores, "labels": RIGHT.labels, **parts})


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "None; give DetectedBoxes"),
        ((BOXES, RIGHT.scores, RIGHT.labels), "a tuple; give DetectedBoxes"),
        (changed(boxes=BOXES[:, :3]), r"boxes, scores and labels of shapes \(2, 3\), \(2,\), \(2,\)"),
        (changed(labels=torch.tensor([1])), r"boxes, scores and labels of shapes \(2, 4\), \(2,\), \(1,\)"),
        (changed(boxes=BOXES.bfloat16()), r"boxes of torch\.bfloat16; give torch\.float32"),
        (changed(scores=[1.0, 0.5]), r"scores of a list; give torch\.float32"),
        (changed(labels=None), r"labels of None; give torch\.int64"),
        (changed(labels=torch.ones(2)), r"labels of torch\.float32; give torch\.int64"),
        (changed(labels=torch.tensor([0, 2])), "labels 0 to 2; give 1 to 2"),
        (changed(labels=torch.tensor([1, 3])), "labels 1 to 3; give 1 to 2"),
        (changed(boxes=BOXES * torch.inf), "boxes that are not finite"),
        (changed(scores=torch.tensor([1.0, torch.nan])), "scores outside of 0 to 1"),
        (changed(scores=torch.tensor([1.5, 0.5])), "scores outside of 0 to 1"),
        (changed(scores=torch.tensor([0.5, 0.75])), "scores that do not fall; give the best first"),
    ],
)
def test_detections_that_are_none_are_told(found: Any, message: str) -> None:
    check_detections(RIGHT, 3, "odd")
    check_detections(DetectedBoxes(*(part[:0] for part in (BOXES, RIGHT.scores, RIGHT.labels))), 3, "odd")
    with pytest.raises(InputError, match=rf"^odd\.detect_dense: decode gave {message}"):
        check_detections(found, 3, "odd.detect_dense")


def test_they_are_told_wherever_a_network_detects(family: Family) -> None:
    part: Any = SimpleNamespace(decode=lambda *given: changed(labels=torch.tensor([1, 4])), __name__="odd.detect_dense")
    network = DenseDetector(family.trunk, family.head, part, family.params)
    with pytest.raises(InputError, match=r"^odd\.detect_dense: decode gave labels 1 to 4; give 1 to 3"):
        network.decode(OfImage({}, family.head.locations.of(8, 8)), (8, 8))


@pytest.mark.parametrize(("layer", "name"), [(nn.Dropout(0.5), "Dropout"), (nn.Dropout2d(0.1), "Dropout2d")])
def test_a_head_with_torchs_own_dropout_is_refused(family: Family, layer: nn.Module, name: str) -> None:
    def build_head(*given: Any) -> nn.Module:
        head: nn.Module = family.train.build_head(*given)
        head.drop = layer
        return head

    part: Any = SimpleNamespace(build_head=build_head, __name__="odd.train_dense")
    with pytest.raises(InputError, match=rf"^odd\.train_dense: drop of PointsHead is a torch\.nn\.{name}, .*; use "):
        new_head(part, family.trunk.layout, 4, family.params)
    for harmless in (nn.Dropout(0.0), Dropout(0.5)):
        layer = harmless
        assert new_head(part, family.trunk.layout, 4, family.params).num_classes == 4


def test_what_is_no_head_is_told(family: Family) -> None:
    part: Any = SimpleNamespace(build_head=lambda *given: nn.Linear(1, 1), __name__="odd.train_dense")
    with pytest.raises(InputError, match=r"^odd\.train_dense: build_head gave a Linear; give a pipeline\.dense\.head"):
        new_head(part, family.trunk.layout, 4, family.params)


@pytest.mark.parametrize("outputs", [None, [torch.zeros(1, 3)], {"classes": None}])
def test_outputs_that_are_no_tensors_by_name_are_told(family: Family, outputs: Any) -> None:
    with pytest.raises(InputError, match=r"^PointsHead: its outputs are not tensors by name; correct the head"):
        check_outputs(family.head, outputs, family.head.locations.of(8, 8))
