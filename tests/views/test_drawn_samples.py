"""`frcnn inspect --draw`: the sample shown is the one that the stage's own loader gives its training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import torch
import yaml

from pipeline.families.faster_rcnn.panels.drawn_samples import anchor_sample, roi_sample
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.inspect.command import inspect_artifact
from pipeline.views.inspect.drawn import sample_tiles
from pipeline.views.panels.request import PanelRequest
from tests.conftest import apply_overlay
from tests.in_process import prepared

if TYPE_CHECKING:
    from tests.conftest import Project

TRAININGS = {
    "train_rpn_step1": "anchor_targets",
    "train_head_step2": "proposal_targets_step2",
    "train_rpn_step3": "anchor_targets",
    "train_head_step4": "proposal_targets_step4",
    "finetune_joint": "anchor_targets",
}
SECOND_EPOCH = 12  # 24 images and mirrors, two an iteration
LONGER: dict[str, Any] = {stage: {"iterations": 30} for stage in TRAININGS}


class _CaughtError(Exception):
    """Ends a stage where it would train."""


@pytest.fixture
def run(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The artifacts of a run under a params.yaml that trains for two epochs and a half."""
    root = tmp_path / "run"
    root.mkdir()
    (root / "data").symlink_to(tiny_run.data)
    shutil.copyfile(tiny_run.root / "dvc.yaml", root / "dvc.yaml")
    params = apply_overlay(yaml.safe_load((tiny_run.root / "params.yaml").read_text()), LONGER)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(root)
    return root


def loader_of(stage: str, run: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the stage would give its training to load batches with."""
    caught: list[Any] = []

    def run_training(step: object, loader: object, *others: object) -> NoReturn:
        caught.append(loader)
        raise _CaughtError

    for module in ("stages.train_rpn", "stages.train_head", "pipeline.families.faster_rcnn.training.joint_run"):
        monkeypatch.setattr(f"{module}.run_training", run_training)
    work, given = prepared(stage, run, out)
    with pytest.raises(_CaughtError):
        work(given)
    return caught[0]


@pytest.mark.parametrize("stage", TRAININGS)
def test_the_sample_is_the_one_that_training_takes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    loader, graph = loader_of(stage, run, tmp_path / "out", monkeypatch), read_declared_graph(run)
    for iteration in (SECOND_EPOCH, SECOND_EPOCH + 5):
        batch = loader(iteration)
        for place, entry in enumerate(batch.views.entries):
            targets = graph.commands[TRAININGS[stage]]
            request = PanelRequest(targets, run, entry, 0.0, graph, load_params(run / "params.yaml"))
            fg, bg = sample_tiles(graph, graph.commands[stage], run, entry.name, 2)
            assert f"epoch 2 of {stage}, iteration {iteration + 1} of 30: " in fg.caption
            if batch.anchors:
                taken, shown = batch.anchors[place], anchor_sample(request, stage, 1)
                assert torch.equal(shown.fg, taken.fg) and torch.equal(shown.bg, taken.bg)
                counts = len(taken.fg), len(taken.bg)
                assert sum(counts) == 256
            else:
                rois = roi_sample(request, stage, 1)
                assert torch.equal(rois.rois, batch.rois[place].rois)
                assert torch.equal(rois.labels, batch.rois[place].labels)
                counts = int((rois.labels > 0).sum()), int((rois.labels == 0).sum())
            assert f": {counts[0]} of " in fg.caption and bg.caption.startswith(f"{counts[1]} of ")
            assert ("proposals of the network as it was then" in bg.caption) == (stage == "finetune_joint")


def test_another_epoch_is_another_sample(run: Path) -> None:
    graph = read_declared_graph(run)
    command, entry = graph.commands["train_rpn_step1"], "train_00001"
    first, second = (sample_tiles(graph, command, run, entry, epoch)[1].image for epoch in (1, 2))
    again = sample_tiles(graph, command, run, entry, 2)[1].image
    assert (first != second).any() and (second == again).all()


def test_the_verb_writes_a_picture_named_by_the_epoch(run: Path) -> None:
    lines: list[str] = []
    inspect_artifact(run, "train_head_step4", "train_00001", None, 0.5, None, lines.append, draw=2)
    assert lines == ["picture: inspect-train_head_step4-train_00001-epoch-2.png"]
    assert Path("inspect-train_head_step4-train_00001-epoch-2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("stage", "image", "epoch", "message"),
    [
        ("train_rpn_step1", None, 1, "--draw 1: name the image with --image"),
        ("train_rpn_step1", "train_00001", 0, "--draw 0: epochs are counted from 1"),
        ("train_rpn_step1", "train_00001", 4, "30 iterations, 12 per epoch; give a number from 1 to 3"),
        ("train_rpn_step1", "train_00099", 1, "no image 'train_00099'; anchor_targets has 12 images"),
        ("anchor_targets", "train_00001", 1, "draws no sample of anchors or RoIs; give one of train_rpn_step1, "),
        ("train_rpn_step1", "train_00001", None, "add --draw EPOCH for what it drew from this one"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    run: Path, stage: str, image: str | None, epoch: int | None, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        inspect_artifact(run, stage, image, None, 0.5, None, print, draw=epoch)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_that_training_does_not_reach_is_one_line(run: Path) -> None:
    graph = read_declared_graph(run)
    command, reached = graph.commands["train_rpn_step1"], []
    for entry in (f"train_{number:05d}" for number in range(12)):
        try:
            sample_tiles(graph, command, run, entry, 3)
            reached.append(entry)
        except InputError as error:
            assert f"does not train on {entry} in this epoch, as training ends before its turn" in str(error)
    assert 0 < len(reached) < 12
