"""A dense head that starts from that of a detector which was trained on other classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.artifacts.classes import write_detector_classes
from pipeline.artifacts.weights import save_parts
from pipeline.building.known_classes import KnownClasses
from pipeline.dense.building import new_head
from pipeline.dense.head import DenseHead
from pipeline.dense.initial import take_head, why_absent, without_limit
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.initial import InitParams
from tests.dense.conftest import Family

OURS, THEIRS = ["background", "cat", "dog", "bus"], ["background", "bus", "tram", "Cat"]


def state_of(family: Family, classes: Sequence[str], value: float) -> dict[str, Tensor]:
    """A head of so many classes, all weights `value` but those of the class layer, which count up."""
    head: Any = new_head(family.train, family.trunk.layout, len(classes), family.params)  # type: ignore[arg-type]
    with torch.no_grad():
        for own in head.parameters():
            own.fill_(value)
        head.classes.bias.copy_(torch.arange(len(classes) - 1.0))
    return dict(head.state_dict())


def written(folder: Path, head: dict[str, Tensor], classes: Sequence[str] | None) -> Path:
    """What stage `backbone` leaves of it."""
    save_parts(folder, {"head": head})
    if classes is not None:
        write_detector_classes(folder, classes)
    return folder


def fresh(family: Family) -> Any:
    head: Any = new_head(family.train, family.trunk.layout, len(OURS), family.params)  # type: ignore[arg-type]
    head.initialise(torch.Generator().manual_seed(0))
    nn.init.constant_(head.classes.bias, -5.0)
    return head


def test_classes_that_both_have_start_from_the_detectors_rows(family: Family, tmp_path: Path) -> None:
    head = fresh(family)
    own = head.classes.weight.clone()
    lines = take_head(head, written(tmp_path, state_of(family, THEIRS, 0.5), THEIRS), OURS)
    assert lines == ["class rows: 2 of 3 classes start from the detector's"]
    assert head.classes.bias.tolist() == [2.0, -5.0, 0.0]  # cat is their third, dog none of theirs, bus their first
    assert (head.classes.weight[[0, 2]] == 0.5).all() and torch.equal(head.classes.weight[1], own[1])
    assert (head.shared.weight == 0.5).all()


def test_without_known_classes_the_class_layer_starts_fresh(family: Family, tmp_path: Path) -> None:
    head = fresh(family)
    own = head.classes.weight.clone()
    # As many classes, but nothing says that they are the same.
    assert take_head(head, written(tmp_path, state_of(family, THEIRS, 0.5), None), OURS) == []
    assert (head.shared.weight == 0.5).all() and torch.equal(head.classes.weight, own)


def test_of_another_head_what_fits_is_taken_and_a_line_says_what_does_not(family: Family, tmp_path: Path) -> None:
    head, theirs = fresh(family), state_of(family, THEIRS, 0.5)
    own = head.classes.weight.clone()
    theirs["classes.weight"] = theirs["classes.weight"][:, :1]
    (line,) = take_head(head, written(tmp_path, theirs, THEIRS), OURS)
    assert "none starts from the detector's: its classes.weight has shape" in line
    assert torch.equal(head.classes.weight, own) and (head.shared.weight == 0.5).all()


def test_imagenets_classifier_is_none(family: Family, tmp_path: Path) -> None:
    head = fresh(family)
    save_parts(tmp_path, {"classifier": {"fc6.weight": torch.ones(2, 2)}})
    assert take_head(head, tmp_path, OURS) == []


@pytest.mark.parametrize("background", [False, True])
def test_rows_of_several_anchors_are_found_whether_or_not_the_background_has_one(
    tmp_path: Path, background: bool
) -> None:
    def head_of(classes: int) -> Any:
        head: Any = DenseHead(SimpleNamespace())  # type: ignore[arg-type]
        head.num_classes, head.class_layers, head.background_row = classes, {"out": 2}, background
        head.out = nn.Linear(1, 2 * (classes - (not background)))
        nn.init.zeros_(head.out.weight), nn.init.constant_(head.out.bias, -1.0)
        return head

    head, theirs = head_of(len(OURS)), head_of(3)
    with torch.no_grad():
        theirs.out.bias.copy_(torch.arange(len(theirs.out.bias)))
    take_head(head, written(tmp_path, dict(theirs.state_dict()), ["background", "bus", "cat"]), OURS)
    expected = [0.0, 2.0, -1.0, 1.0, 3.0, 5.0, -1.0, 4.0] if background else [1.0, -1.0, 0.0, 3.0, -1.0, 2.0]
    assert head.out.bias.tolist() == expected


@pytest.mark.parametrize(
    ("detector", "classes", "change", "words"),
    [
        ("none", THEIRS, None, "training starts from no detector"),
        ("file", None, None, "no head whose classes are known"),
        ("file", THEIRS, lambda state: state.pop("shared.bias"), "another head than params.yaml"),
        ("file", THEIRS, None, None),
    ],
)
def test_why_a_detector_cannot_be_run_as_it_is(
    family: Family,
    tmp_path: Path,
    detector: Any,
    classes: list[str] | None,
    change: Callable[[dict[str, Tensor]], object] | None,
    words: str | None,
) -> None:
    state = state_of(family, THEIRS, 0.5)
    if change is not None:
        change(state)
    folder, part = written(tmp_path, state, classes), family.detect
    why = why_absent(InitParams(detector=detector), part, family.trunk.layout, family.params, folder)  # type: ignore[arg-type]
    assert (why is None) == (words is None) and (words is None or words in str(why))


def test_detections_of_classes_that_the_data_set_lacks_take_no_places(family: Family) -> None:
    params, limit = without_limit(family.params, family.detect)  # type: ignore[arg-type]
    assert limit == family.params.detect_points.per_image < params.detect_points.per_image
    found = DetectedBoxes(torch.zeros(4, 4), torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([2, 2, 3, 1]))
    kept = KnownClasses(THEIRS, OURS).of_data_set(found, 1)
    assert kept.labels.tolist() == [1] and kept.scores.tolist() == pytest.approx([0.7])
