"""How often the host would wait for a GPU between two rows of the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.families.faster_rcnn.training.anchor_samples import put_anchors_together
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.roi_samples import put_rois_together
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.params.schedule import Schedule
from pipeline.training.loop import train
from tests.training import test_steps as steps
from tests.training import toy

# What makes the host wait for a value: directly, and inside of NMS, whose result is as long as it turns out.
OPERATORS = {"_local_scalar_dense", "nonzero", "nms", "masked_select", "_unique2", "equal"}
PLAN = Schedule(iterations=12, images_per_iteration=2, lr=0.01, lr_drop_at=[6], lr_drop_factor=0.1, warmup_iterations=2)
SOLVER = toy.SOLVER.model_copy(update={"lr_decay": "linear", "clip_norm": 0.1})


class Meetings(TorchDispatchMode):
    """Counts operators that a GPU has to be waited for, and copies from its memory to the host's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        # A GPU's tensors become the host's by these alone; on a CPU the operators below them are not called.
        for name in ("cpu", "tolist", "item"):
            monkeypatch.setattr(Tensor, name, self._counted(name, getattr(Tensor, name)))
        monkeypatch.setattr(torch, "tensor", self._counted("made from a list", torch.tensor))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.seen[name] += 1
            return call(*args, **options)

        return counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in OPERATORS:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


def loaded(batch: Batch) -> Batch:
    """As the loader leaves it."""
    together = partial(put_anchors_together, layout=LAYOUT[0], per_location=3)
    return replace(
        batch,
        drawn_anchors=together(batch.anchors, batch.views.sizes) if batch.anchors else None,
        drawn_rois=put_rois_together(batch.rois) if batch.rois else None,
    )


LAYOUT = [steps.LAYOUT]


def on_images(kind: str) -> tuple[torch.nn.Module, Batch]:
    joint = steps.joint_step()
    LAYOUT[0] = joint.trunk.layout
    batch = steps.joint_batch(steps.ONE_GT)
    if kind == "joint":
        return joint, loaded(batch)
    if kind == "step 1":
        return RPNStep(joint.rpn, steps.RPN, joint.trunk, LAYOUT[0]), loaded(batch)
    rois = [steps.random_rois((48, 96), [1, 0, 2]), steps.random_rois((48, 96), [0, 0])]
    if kind == "step 2 with RoIAlign":
        joint.head._pool = "roi_align"
    return HeadStep(joint.head, steps.HEAD, joint.trunk), loaded(replace(batch, anchors=[], rois=rois))


def on_maps(kind: str) -> tuple[torch.nn.Module, Batch]:
    LAYOUT[0] = steps.LAYOUT
    maps = [torch.randn(steps.CHANNELS, *steps.feature_size(*size), generator=steps.DRAW) for size in steps.SIZES]
    if kind == "step 3":
        anchors = [steps.random_anchors(size, fg=3, bg=6) for size in steps.SIZES]
        return RPNStep(steps.random_rpn(), steps.RPN, None, LAYOUT[0]), loaded(steps.cached(maps, anchors, []))
    rois = [steps.random_rois(size, [1, 0, 2]) for size in steps.SIZES]
    return HeadStep(steps.random_head(), steps.HEAD, None), loaded(steps.cached(maps, [], rois))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("step 1", {}),
        ("step 2", {}),
        ("step 2 with RoIAlign", {}),
        ("step 3", {}),
        ("step 4", {}),
        # NMS of each of two images, and one look at the labels of all candidates: what is drawn depends on how many of
        # them are fg and bg.
        ("joint", {"nms": 2, "cpu": 1}),
    ],
)
def test_between_two_rows_the_host_waits_for_no_more_than_what_decides_the_next_draw(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, kind: str, expected: dict[str, int]
) -> None:
    step, batch = (on_maps if kind in ("step 3", "step 4") else on_images)(kind)
    monkeypatch.setattr("pipeline.training.loop._is_the_hosts", lambda value: False)
    meetings, between = Meetings(monkeypatch), []

    def note(loss: float | None) -> None:
        between.append((loss is not None, dict(meetings.seen)))
        meetings.seen.clear()

    with meetings:
        train(
            step,
            lambda left: [batch for _ in left],
            PLAN,
            SOLVER,
            accelerator,
            stage="finetune_joint",
            on_iteration=note,
        )
    assert [is_row for is_row, _ in between] == [False, False, False, True] * 3
    # The first iteration makes what stays.
    assert [seen for is_row, seen in between[1:] if not is_row] == [expected] * 8
    assert all(seen == {**expected, "tolist": 1} for is_row, seen in between if is_row)


def test_what_is_counted_is_seen(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    with Meetings(monkeypatch) as meetings:
        value = torch.ones(2)
        bool(value.any()), float(value.sum()), torch.nonzero(value), value.cpu(), torch.tensor([1.0])
    assert meetings.seen == {"_local_scalar_dense": 2, "nonzero": 1, "cpu": 1, "made from a list": 1}
