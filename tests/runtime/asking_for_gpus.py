"""Runs stages up to where they start their processes, with two GPUs that are not there.

Each runs in a process that has not imported `pipeline.runtime.device`. Prints a line of JSON for each: the key of its
run, and the GPUs that its processes would get.

    python -m tests.runtime.asking_for_gpus '[["H100", ["features", "--out", "data/features", ...]], ...]'
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any, NoReturn
from unittest.mock import patch

import accelerate  # noqa: F401  for all stages at once
import torch

from pipeline.runtime import processes, stage
from pipeline.runtime.variables import PROCESSES


def run(model: str | None, words: list[str]) -> NoReturn:
    """Run a stage with GPUs of a model, or with none, up to where it starts its processes."""
    assert "pipeline.runtime.device" not in sys.modules
    keys, run_key = [], stage.run_key

    def noted_key(*given: Any) -> str:
        keys.append(run_key(*given))
        return keys[-1]

    def print_gpus(work: object, stage: object, count: int) -> NoReturn:
        print(json.dumps([*keys, processes._gpus_of_one_kind(count)]), flush=True)
        os._exit(0)

    with (
        patch.object(torch.cuda, "is_available", return_value=model is not None),
        patch.object(torch.cuda, "device_count", return_value=2),
        patch.object(torch.cuda, "get_device_name", return_value=model),
        patch.object(torch.backends.cudnn, "version", return_value=92000),
        patch.object(stage, "run_key", noted_key),
        patch.object(processes, "_shares_done", print_gpus),
        patch.object(sys, "argv", words),
        patch.dict(os.environ, {PROCESSES: "2"}),
    ):
        runpy.run_module(f"stages.{words[0]}", run_name="__main__")
    raise AssertionError(f"{words[0]} starts no processes")


if __name__ == "__main__":
    for model, words in json.loads(sys.argv[1]):
        child = os.fork()
        if not child:
            run(model, words)
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{words[0]} failed")
