"""Training states on disk, and runs that go on from them and end with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline import stopping
from pipeline.artifacts.stores import Entry
from pipeline.errors import InputError
from pipeline.params.training import Schedule, SolverParams
from pipeline.stopping import Stopped, safe_points
from pipeline.training.batches import Batch, Views
from pipeline.training.checkpoints import EVERY_ITERATIONS, EVERY_MINUTES, Checkpoints, TrainingState
from pipeline.training.loop import Row, train
from tests.conftest import ROOT

ITERATIONS = 23


class Killed(BaseException):
    """What SIGKILL is to a process."""


class Net(nn.Module):
    """A convolution with batch norm, whose loss depends on the batch alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.views.maps is not None
        out = self.norm(self.conv(batch.views.maps))
        return {"square": out.square().mean(), "shift": (out - batch.seeds[0] % 7).abs().mean()}


def batch(iteration: int) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    maps = torch.randn(2, 3, 9, 9, generator=generator)
    return Batch(Views([Entry(f"image{iteration}", False)] * 2, [(9, 9)] * 2, maps=maps), [], [], [], [], [iteration])


def batches(left: range) -> Iterator[Batch]:
    return (batch(i) for i in left)


PLAN = Schedule(
    iterations=ITERATIONS, images_per_iteration=2, lr=0.05, lr_drop_at=[15], lr_drop_factor=0.1, warmup_iterations=5
)
SOLVER = SolverParams(
    momentum=0.9,
    weight_decay=0.01,
    bias_lr_factor=2.0,
    trunk_lr_factor=1.0,
    lr_decay="drops",
    clip_norm=1.0,
    log_every=4,
)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Net, list[Row]]]:
    """Train with a state every 4 iterations, killed before iteration `kill`, under a key."""
    monkeypatch.setenv(EVERY_ITERATIONS, "4")

    def run(kill: int | None = None, key: str = "key", keep: bool = True) -> tuple[Net, list[Row]]:
        net = Net()

        def left(iterations: range) -> Iterator[Batch]:
            for i in iterations:
                if i == kill:
                    raise Killed
                yield batch(i)

        kept = Checkpoints(tmp_path / "states", key, lines.append) if keep else None
        rows = train(
            net,
            left,
            PLAN,
            SOLVER,
            Accelerator(cpu=True),
            stage="train_rpn_step1",
            on_iteration=lambda loss: None,
            checkpoints=kept,
            on_resume=lambda iteration: lines.append(f"from {iteration}"),
        )
        return net, rows

    return run


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("kills", [(1,), (4,), (5,), (22,), (9, 9, 10), (3, 13, 14, 21)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bits_and_rows(run: Callable, kills: tuple[int, ...]) -> None:
    undisturbed, rows = run(keep=False)
    for kill in kills:
        with pytest.raises(Killed):
            run(kill)
    net, own = run()
    assert same(net, undisturbed) and own == rows and len(rows) == 6


def test_it_goes_on_from_the_last_state_and_keeps_two(run: Callable, tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(Killed):
        run(18)
    names = sorted(path.name for path in (tmp_path / "states/key").iterdir())
    assert names == [f"state-{i:09d}.{kind}" for i in (12, 16) for kind in ("json", "safetensors")]
    run()
    assert lines == ["from 16"]


def test_a_state_gone_on_from_does_not_stay_in_memory(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
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
        told = json.loads(path.read_text())
        told["told"]["history"][0]["loss"] += 1e-6
        path.write_text(json.dumps(told))
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
    asked: list[int] = []
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


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_asked", [])
    with safe_points():
        stopping._handle(2, None)
        with pytest.raises(Stopped, match="SIGINT"):
            stopping._handle(2, None)


def test_the_end_of_the_parent_asks_once_and_never_counts_as_a_second_signal() -> None:
    code = """
import os, signal
from pipeline import stopping
stopping.heed_signals()
stopping.end_with_parent()
with stopping.safe_points():
    for number in {signals}:
        os.kill(os.getpid(), number)
    print("goes on to its safe point", flush=True)
    try:
        stopping.stop_if_asked()
    except stopping.Stopped as stopped:
        stopping.heed_nothing_more()
        os.kill(os.getpid(), signal.SIGTERM)
        print(stopped.status)
"""
    for signals in ("[signal.SIGUSR1, signal.SIGUSR1]", "[signal.SIGTERM, signal.SIGUSR1]"):
        command = [sys.executable, "-c", code.replace("{signals}", signals)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert result.stdout == "goes on to its safe point\n143\n"


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


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written before it is set."""
    free, write = threading.Event(), Checkpoints._write

    def waiting(self: Checkpoints, told: dict[str, Any]) -> None:
        free.wait()
        write(self, told)

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

    def full(self: Checkpoints, told: dict[str, Any]) -> None:
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


def test_no_state_is_written_of_a_training_whose_loss_was_not_finite(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Net.forward

    def breaking(self: Net, own: Batch) -> dict[str, Tensor]:
        return {name: loss / (own.seeds[0] != 5) for name, loss in forward(self, own).items()}

    monkeypatch.setattr(Net, "forward", breaking)
    monkeypatch.setattr(sys.modules[__name__], "SOLVER", SOLVER.model_copy(update={"log_every": 1000}))
    with pytest.raises(InputError, match="not finite at iteration 5 on image5"):
        run()
    assert [path.name for path in sorted((tmp_path / "states/key").iterdir())] == [
        f"state-000000004.{kind}" for kind in ("json", "safetensors")
    ]
    state = Checkpoints(tmp_path / "states", "key", print).last()
    assert state and all(tensor.isfinite().all() for tensor in state.tensors.values())


def test_no_state_is_written_of_weights_that_are_not_finite(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Net.forward

    def steep(self: Net, own: Batch) -> dict[str, Tensor]:
        losses = forward(self, own)
        return {**losses, "steep": (self.conv.weight.sum() * 0).sqrt()} if own.seeds[0] == 7 else losses

    monkeypatch.setattr(Net, "forward", steep)
    monkeypatch.setattr(sys.modules[__name__], "SOLVER", SOLVER.model_copy(update={"clip_norm": 0.0, "log_every": 1}))
    with pytest.raises(InputError, match="not finite after 8 iterations"):
        run()
    assert [path.name for path in sorted((tmp_path / "states/key").iterdir())] == [
        f"state-000000004.{kind}" for kind in ("json", "safetensors")
    ]


@pytest.mark.parametrize("text", ["0", "-1", "often", "nan"])
def test_a_wrong_interval_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(EVERY_MINUTES, text)
    with pytest.raises(InputError, match=f"{EVERY_MINUTES}={text}: give a number above 0"):
        Checkpoints(tmp_path, "key", print)


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


def test_a_loss_that_is_not_finite_keeps_its_batch(tmp_path: Path) -> None:
    class Broken(Net):
        def forward(self, own: Batch) -> dict[str, Tensor]:
            losses = super().forward(own)
            return {**losses, "shift": losses["shift"] / (0.0 if own.seeds[0] == 5 else 1.0)}

    with pytest.raises(
        InputError, match=r"not finite at iteration 5 on image5, image5 .* whose batch is in .*"
    ) as error:
        train(
            Broken(),
            batches,
            PLAN,
            SOLVER,
            Accelerator(cpu=True),
            stage="train_head_step2",
            on_iteration=lambda loss: None,
            keep_bad_batch_in=tmp_path / "bad",
        )
    path = tmp_path / "bad/train_head_step2-5.safetensors"
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    maps = batch(5).views.maps
    assert maps is not None and torch.equal(load_file(path)["views.maps"], maps)
