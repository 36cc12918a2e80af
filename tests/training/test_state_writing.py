"""States written by a thread: training continues meanwhile, and a failed write ends it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.training.checkpoints import Checkpoints
from tests.killed import Killed
from tests.training.toy import Net, same


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written before it is set."""
    free, write = threading.Event(), Checkpoints._write

    def waiting(self: Checkpoints, header: dict[str, Any]) -> None:
        free.wait()
        write(self, header)

    monkeypatch.setattr(Checkpoints, "_write", waiting)
    return free


def test_training_goes_on_while_a_state_is_written_which_holds_what_was_when_it_was_asked_for(
    run: Callable, lines: list[str], monkeypatch: pytest.MonkeyPatch, slow_disk: threading.Event
) -> None:
    undisturbed, rows = run(keep=False)
    forward = Net.forward

    def at_last(self: Net, own: Batch) -> dict[str, Tensor]:
        if own.seeds[0] == 7:
            slow_disk.set()
        return forward(self, own)

    monkeypatch.setattr(Net, "forward", at_last)
    with pytest.raises(Killed):
        run(8)
    net, own = run()
    assert lines == ["from 4"] and same(net, undisturbed) and own == rows


def test_a_state_that_cannot_be_written_ends_the_training_at_the_next_iteration(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward, settle = [], Net.forward, Checkpoints.settle

    def full(self: Checkpoints, header: dict[str, Any]) -> None:
        self._error = OSError(28, "No space left on device")

    def watching(self: Net, own: Batch) -> dict[str, Tensor]:
        seen.append(own.seeds[0])
        return forward(self, own)

    monkeypatch.setattr(Checkpoints, "_write", full)
    monkeypatch.setattr(Net, "forward", watching)
    write = Checkpoints.write
    monkeypatch.setattr(Checkpoints, "write", lambda self, state: (write(self, state), settle(self))[0])
    with pytest.raises(OSError, match="No space left"):
        run()
    assert seen[-1] == 4


def test_a_disk_that_fills_up_leaves_the_states_before(run: Callable, tmp_path: Path, lines: list[str]) -> None:
    undisturbed, _ = run(keep=False)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if "000000012" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            run()
    assert not list((tmp_path / "states/key").glob("*.partial"))
    net, _ = run()
    assert lines == ["from 8"] and same(net, undisturbed)
