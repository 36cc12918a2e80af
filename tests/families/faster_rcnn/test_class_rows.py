"""Rows of cls_score and bbox_pred of classes that a detector knows by name start from its."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.artifacts.classes import write_detector_classes
from pipeline.artifacts.weights import save_parts
from pipeline.datasets.same_class import rows_of_classes
from pipeline.families.faster_rcnn.building.class_rows import take_class_rows
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.geometry.pooling import Pooling
from tests.layouts import one_level

KNOWN = ["background", "Car", "traffic light", "tv", "airplane"]
CLASSES = ["background", "tvmonitor", "cat", "aeroplane", "Traffic_Light"]


def head_of(classes: int, seed: int, hidden: int = 6, agnostic: bool = False, std: float = 0.1) -> FcHead:
    head = FcHead(one_level(16, 2), classes, Pooling("roi_pool", 2), hidden=hidden, dropout=0, class_agnostic=agnostic)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in head.parameters():
            value.normal_(generator=draw)
    head.delta_mean.fill_(0.25)
    head.delta_std.fill_(std)
    return head


def backbone_with(head: FcHead, folder: Path, names: list[str] | None = KNOWN) -> Path:
    """What stage `backbone` leaves of a detector."""
    folder.mkdir(exist_ok=True)
    save_parts(folder, {"head": head})
    if names is not None:
        write_detector_classes(folder, names)
    return folder


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (CLASSES, KNOWN, [(0, 0), (1, 3), (3, 4), (4, 2)]),
        (
            ["bg", "dining table", "motorbike", "sofa"],
            ["b", "couch", "diningtable", "motorcycle"],
            [(0, 0), (1, 2), (2, 3), (3, 1)],
        ),
        (["bg", "pottedplant"], ["bg", "N/A", "potted plant", "Potted-Plant"], [(0, 0), (1, 2)]),
        (["bg", "cell"], ["bg", "cells"], [(0, 0)]),
    ],
)
def test_names_match_whatever_their_case_spaces_and_data_set(
    ours: list[str], theirs: list[str], found: list[tuple[int, int]]
) -> None:
    assert rows_of_classes(ours, theirs) == found


def test_rows_of_known_classes_start_from_the_detectors_and_the_others_stay(tmp_path: Path) -> None:
    theirs, head = head_of(5, seed=0), head_of(5, seed=1)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    line = take_class_rows(head, backbone_with(theirs, tmp_path), CLASSES)
    assert line == "class rows: 3 of 4 classes and the background start from the detector's"
    for layer, width in (("cls_score", 1), ("bbox_pred", 4)):
        for kind in ("weight", "bias"):
            now, own, old = (
                (state[f"{layer}.{kind}"].unflatten(0, (-1, width)))
                for state in (head.state_dict(), theirs.state_dict(), before)
            )
            assert torch.equal(now[[0, 1, 3, 4]], own[[0, 3, 4, 2]]) and torch.equal(now[2], old[2])
    assert torch.equal(head.fc6.weight, before["fc6.weight"])


@pytest.mark.parametrize("agnostic", [False, True])
def test_boxes_stay_as_they_were_under_another_normalisation(tmp_path: Path, agnostic: bool) -> None:
    theirs, head = head_of(5, 0, agnostic=agnostic), head_of(3, 1, agnostic=agnostic, std=0.3)
    head.delta_mean.fill_(-0.5)
    take_class_rows(head, backbone_with(theirs, tmp_path), ["background", "tv", "cat"])
    features = torch.randn(7, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        own, old = (net.decode_deltas(net.bbox_pred(features).unflatten(1, (-1, 4))) for net in (head, theirs))
    torch.testing.assert_close(own[:, :2], old[:, [0, 3]])


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    theirs = head_of(5, 0)
    assert take_class_rows(head_of(5, 1), backbone_with(theirs, tmp_path / "a", None), CLASSES) is None
    folder = backbone_with(theirs, tmp_path / "b")
    assert "none starts from the detector's" in str(take_class_rows(head_of(5, 1, hidden=8), folder, CLASSES))
    one_box = head_of(5, 1, agnostic=True)
    before = one_box.bbox_pred.weight.clone()
    assert "but for their boxes" in str(take_class_rows(one_box, folder, CLASSES))
    assert torch.equal(one_box.bbox_pred.weight, before)
    assert torch.equal(one_box.cls_score.weight[1], theirs.cls_score.weight[3])
