"""A flow completes only if every stage has, and a bar that cannot be shown ends no stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipeline.orchestrate.graph import Graph, StageMeta, StageNode
from pipeline.orchestrate.server import prepare_environment
from pipeline.orchestrate.slots import Slots

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
