"""Training states on disk, and runs that resume from them and end with the same bytes."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.runtime import stopping
from pipeline.runtime.stopping import Stopped, safe_points
from pipeline.runtime.variables import EVERY_ITERATIONS, EVERY_MINUTES
from pipeline.training.checkpoints import Checkpoints, TrainingState
from tests.killed import Killed
from tests.training.toy import Net, same


@pytest.mark.parametrize("kills", [(1,), (4,), (5,), (22,), (9, 9, 10), (3, 13, 14, 21)])
def test_a_killed_training_resumes_and_ends_with_the_same_bits_and_rows(run: Callable, kills: tuple[int, ...]) -> None:
    undisturbed, rows = run(keep=False)
    for kill in kills:
        with pytest.raises(Killed):
            run(kill)
    net, own = run()
    assert same(net, undisturbed) and own == rows and len(rows) == 6


def test_it_resumes_from_the_last_state_and_keeps_two(run: Callable, tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(Killed):
        run(18)
    names = sorted(path.name for path in (tmp_path / "states/key").iterdir())
    assert names == [f"state-{i:09d}.{kind}" for i in (12, 16) for kind in ("json", "safetensors")]
    run()
    assert lines == ["from 16"]


def test_a_state_that_was_resumed_from_does_not_stay_in_memory(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        run(18)
    found: list[weakref.ref[TrainingState]] = []
    last, forward = Checkpoints.last, Net.forward

    def watched(self: Checkpoints) -> TrainingState | None:
        state = last(self)
        assert state
        found.append(weakref.ref(state))
        return state

    def watching(self: Net, own: Batch) -> dict[str, Tensor]:
        assert found[0]() is None
        return forward(self, own)

    monkeypatch.setattr(Checkpoints, "last", watched)
    monkeypatch.setattr(Net, "forward", watching)
    run()
    assert len(found) == 1


def test_another_key_starts_afresh_and_leaves_nothing_of_the_old(
    run: Callable, tmp_path: Path, lines: list[str]
) -> None:
    with pytest.raises(Killed):
        run(18)
    with pytest.raises(Killed):
        run(6, key="other")
    assert lines == []
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["other"]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def with_another_loss(path: Path) -> None:
    """Sound JSON, and a wrong history; of the tensors, a wrong weight."""
    if path.suffix == ".json":
        header = json.loads(path.read_text())
        header["extra"]["history"][0]["loss"] += 1e-6
        path.write_text(json.dumps(header))
    else:
        save_file({name: value + 1 for name, value in load_file(path).items()}, path)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("damage", [truncated, flipped, with_another_loss, emptied, Path.unlink])
def test_a_damaged_state_is_noticed_and_the_one_before_it_used(
    run: Callable, tmp_path: Path, lines: list[str], damage: Callable[[Path], None], kind: str
) -> None:
    undisturbed, rows = run(keep=False)
    with pytest.raises(Killed):
        run(18)
    damage(tmp_path / f"states/key/state-000000016.{kind}")
    net, own = run()
    assert lines[-1] == "from 12"
    assert (damage is Path.unlink and kind == "json") or "damaged" in lines[0]
    assert same(net, undisturbed) and own == rows


def test_with_all_states_damaged_it_starts_from_the_beginning(run: Callable, tmp_path: Path, lines: list[str]) -> None:
    undisturbed, _ = run(keep=False)
    with pytest.raises(Killed):
        run(18)
    for path in (tmp_path / "states/key").glob("*.safetensors"):
        truncated(path)
    net, _ = run()
    assert len(lines) == 2 and all("damaged" in line for line in lines)
    assert same(net, undisturbed)


def test_a_state_of_one_run_under_the_name_of_another_iteration_counts_for_nothing(
    run: Callable, tmp_path: Path, lines: list[str]
) -> None:
    with pytest.raises(Killed):
        run(18)
    for kind in ("json", "safetensors"):
        place = tmp_path / "states/key"
        shutil.copy(place / f"state-000000016.{kind}", place / f"state-000000020.{kind}")
    run()
    assert lines[-1] == "from 16"


def test_a_signal_is_heeded_between_iterations_with_the_state_kept(
    run: Callable, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, rows = run(keep=False)
    asked: list[stopping._Asked] = []
    monkeypatch.setattr(stopping, "_asked", asked)
    seen = []
    forward = Net.forward

    def watching(self: Net, own: Batch) -> dict[str, Tensor]:
        seen.append(own.seeds[0])
        if own.seeds[0] == 6:
            stopping._handle(15, None)
        return forward(self, own)

    monkeypatch.setattr(Net, "forward", watching)
    with pytest.raises(Stopped, match="SIGTERM") as stopped, safe_points():
        run()
    assert stopped.value.status == 143 and seen[-1] == 6
    asked.clear()
    seen.clear()
    net, own = run()
    assert lines == ["from 7"] and seen[0] == 7
    assert same(net, undisturbed) and own == rows


def test_time_makes_a_state_due_as_iterations_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "10")
    monkeypatch.setenv(EVERY_MINUTES, "3")
    now = [0.0]
    monkeypatch.setattr("pipeline.training.checkpoints.time.monotonic", lambda: now[0])
    kept = Checkpoints(tmp_path, "key", print)
    assert not kept.is_due(9) and kept.is_due(10)
    kept.write(TrainingState(10, {"step.a": torch.ones(1)}))
    assert not kept.is_due(19) and kept.is_due(20)
    now[0] = 181.0
    assert kept.is_due(11)


def test_a_state_is_due_by_minutes_alone_unless_iterations_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EVERY_ITERATIONS, raising=False)
    monkeypatch.delenv(EVERY_MINUTES, raising=False)
    now = [0.0]
    monkeypatch.setattr("pipeline.training.checkpoints.time.monotonic", lambda: now[0])
    kept = Checkpoints(tmp_path, "key", print)
    now[0] = 299.0
    assert not kept.is_due(10**9)
    now[0] = 300.0
    assert kept.is_due(1)
