"""Out of memory on a GPU, in torch or in Python: one line that names the parameter to lower."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.stage import Stage, run_stage
from tests.conftest import SECTIONS, apply_overlay
from tests.defaults import default_content
from tests.in_process import ended

_CUDA = "import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 9.00 GiB.\\nGPU 0 has ...')"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (_CUDA, "out of memory (CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has ...)"),
        ("import torch; torch.empty(1 << 60, dtype=torch.uint8)", "can't allocate memory"),
        ("import numpy; numpy.ones(1 << 60, dtype=numpy.uint8)", "out of memory"),
        ("bytes(1 << 60)", "out of memory"),
    ],
)
@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("train_head_step2", "lower train_head_step2.images_per_iteration or the image size (section resize)"),
        ("features", "lower the image size (section resize)"),
        ("detect", "lower detect.images_at_once or the image size (section resize)"),
    ],
)
def test_out_of_memory_names_what_to_lower(tmp_path: Path, statement: str, told: str, stage: str, remedy: str) -> None:
    out = tmp_path / stage
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(apply_overlay(default_content(), {"detect": {"images_at_once": 2}})))
    arguments = ["--out", out, "--params", f"base,{stage}", "--params-file", file]

    def work(stage: Stage) -> None:
        exec(statement)

    act = partial(run_stage, work, about=None, sections=SECTIONS, inputs={})
    result = ended(act, tmp_path, *map(str, arguments))
    assert result.returncode == 1, result.stderr
    [*_, last] = result.stderr.splitlines()
    assert last.startswith(f"{stage}: error: out of memory")
    assert told in last
    assert last.endswith(remedy)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("*features*")) and not out.exists()
