"""A flow completes only if every stage has, and a bar that cannot be shown ends no stage."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from pipeline.orchestrate.graph import Graph, StageMeta, StageNode
from pipeline.orchestrate.server import prepare_environment
from pipeline.orchestrate.slots import Slots
from pipeline.views.encoding import Picture

NODES = {name: StageNode(name, "", "", (), (), StageMeta()) for name in ("one", "two")}


@pytest.fixture
def flow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import os

    monkeypatch.setattr(os, "environ", os.environ.copy())
    prepare_environment(tmp_path)
    from pipeline.orchestrate.dvc_stage import StageRunner
    from pipeline.orchestrate.flow import _FlowRun

    runner = StageRunner(tmp_path, Slots((), 1, tmp_path), 0)
    return _FlowRun(tmp_path, uuid4(), Graph(NODES, frozenset()), runner, None, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "outcome", "message"),
    [
        (("completed", "cached"), "COMPLETED", "2 stages, 1 of them cached"),
        (("completed", "waiting"), "FAILED", "two: not run; see the log"),
        (("failed", "waiting"), "FAILED", "one, two: not run; see the log"),
    ],
)
def test_a_flow_with_a_stage_that_did_not_end_well_is_not_complete(
    flow_run: Any, states: tuple[str, str], outcome: str, message: str
) -> None:
    for name, state in zip(NODES, states, strict=True):
        flow_run.records[name].state = state
    state = flow_run.outcome()
    assert (state.type.name, state.message) == (outcome, message)


def test_a_stopped_flow_is_cancelled(flow_run: Any) -> None:
    flow_run.runner.stop()
    assert flow_run.outcome().type.name == "CANCELLED"


def test_runs_on_workers_end_as_those_of_one_machine_do(flow_run: Any) -> None:
    from pipeline.workers.coordinator import _Coordination

    runs = [SimpleNamespace(node=node) for node in NODES.values()]
    plan = SimpleNamespace(runs=runs, name_of=lambda run: run.node.name)
    stopping = threading.Event()
    run = _Coordination(plan, "", {}, None, None, stopping)  # type: ignore[arg-type]
    run.records["one"].state = "cached"
    assert run.outcome().message == "two: not run; see the log"
    run.records["two"].state = "completed"
    assert run.outcome().message == "2 runs of stages, 1 of them known before"
    stopping.set()
    assert run.outcome().type.name == "CANCELLED"


def test_a_stage_goes_on_though_its_progress_cannot_be_shown(
    flow_run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from pipeline.orchestrate import prefect_artifacts

    tried = []

    def no_client(**_: object) -> None:
        tried.append("tried")
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(prefect_artifacts, "get_client", no_client)
    bar = prefect_artifacts.ProgressArtifact(NODES["one"], uuid4(), uuid4())
    bar.follow("one: 3/4 images, 2.0 images/s, 0:05 left")
    assert tried == ["tried"]


def test_a_page_shows_what_a_stage_does_and_its_picture_before_its_figures(flow_run: Any) -> None:
    from pipeline.orchestrate.prefect_artifacts import stage_text

    node = StageNode("train_it", "Train it, whole", "", (), (), StageMeta(step="step 1"))
    assert node.label == "step 1: Train it, whole (train_it)"
    assert (NODES["one"].label, StageNode("a", "Do", "", (), (), StageMeta()).label) == ("one", "Do (a)")
    text = stage_text(node, {"loss_first": 1234.5}, Picture(b"123", "image/webp", "what it shows"))
    order = ["## Train it, whole", "](data:image/webp;base64,", "what it shows", "| loss first | 1,234.5 |"]
    places = [text.index(own) for own in order]
    assert places == sorted(places)
    assert "data:" not in stage_text(node, {"a": 1}, None) and "figure" not in stage_text(node, {}, None)
