"""What a worker answers to a request that cannot be run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.runtime.errors import InputError
from pipeline.workers.stage_request import StageRequest
from pipeline.workers.stage_run import _Run
from tests.workers.two_graphs import default_setting, two_graphs

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of DVC's use of pygtrie


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        ("stages: [", "dvc cannot read the graph: "),
        ("stages: 7", "dvc cannot read the graph: "),
        ("stages: {other: {cmd: x}}", "dataset: no such stage in dvc.yaml"),
        ("stages: {dataset: {cmd: x, meta: {core: 1}}}", "dvc.yaml: stage dataset: meta.core"),
    ],
)
def test_a_graph_that_is_wrong_is_answered_in_one_line(tmp_path: Path, graph: str, told: str) -> None:
    root = two_graphs(tmp_path / "project", default_setting()).root
    revision = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    request = StageRequest(
        stage="dataset",
        revision=revision.stdout.strip(),
        params=default_setting().params,
        graph=graph,
        before={},
        expected={"cmd": "x", "deps": [], "params": {}, "outs": []},
        code={},
    )
    with pytest.raises(InputError) as caught:
        _Run(root, request, lambda _: None).run(uuid4())
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert (root / "dvc.yaml").read_text() == graph
