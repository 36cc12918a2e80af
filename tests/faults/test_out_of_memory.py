"""Out of memory on a GPU, in torch or in Python: one line that names the parameter to lower."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

from pipeline.families.registry import family_of
from pipeline.params.base import Base
from pipeline.presets.defaults import default_text
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
    ("stage", "sections", "at_once", "remedy"),
    [
        ("train_head_step2", "train_head_step2", None, "train_head_step2.images_per_iteration or the image size"),
        # Of these it reads features too, and gives its network as many as proposals says.
        ("proposals_step3", "proposals,features", "proposals", "proposals.images_at_once or the image size"),
        ("features", "features", "features", "features.images_at_once or the image size"),
        ("frozen_features", "features", "features", "features.images_at_once or the image size"),
        ("detect_on_features", "detect,features", "detect", "the image size"),
    ],
)
def test_out_of_memory_names_what_to_lower(
    tmp_path: Path, statement: str, told: str, stage: str, sections: str, at_once: str | None, remedy: str
) -> None:
    out = tmp_path / stage
    file = tmp_path / "params.yaml"
    several = {"proposals": {"images_at_once": 2}, "features": {"images_at_once": 2}}
    file.write_text(yaml.safe_dump(apply_overlay(default_content(), several)))
    arguments = ["--out", out, "--params", f"base,{sections}", "--params-file", file]

    def work(stage: Stage) -> None:
        exec(statement)

    act = partial(run_stage, work, about=None, sections=SECTIONS, inputs={}, images_at_once=at_once)
    result = ended(act, tmp_path, *map(str, arguments))
    assert result.returncode == 1, result.stderr
    [*_, last] = result.stderr.splitlines()
    assert last.startswith(f"{stage}: error: out of memory")
    assert told in last
    assert last.endswith(f"lower {remedy} (section resize)")
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob(f"*{stage}*"))


def test_out_of_memory_names_the_section_of_a_family(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    content = apply_overlay(
        yaml.safe_load(default_text(family_of("retinanet"))), {"detect_retinanet": {"images_at_once": 2}}
    )
    file.write_text(yaml.safe_dump(content))

    def work(stage: Stage) -> None:
        raise MemoryError

    act = partial(run_stage, work, about=None, sections={"base": Base}, inputs={}, of_family="detect_dense")
    words = (
        "--family",
        "retinanet",
        "--out",
        "detect",
        "--params",
        "base,detect_retinanet",
        "--params-file",
        file.name,
    )
    [*_, last] = ended(act, tmp_path, *words).stderr.splitlines()
    assert last == (
        "detect: error: out of memory; lower detect_retinanet.images_at_once or the image size (section resize)"
    )
