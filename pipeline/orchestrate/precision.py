"""Checks whether the declared precision is slow on this machine."""

from __future__ import annotations

from pathlib import Path

from pipeline.nn.processor import has_bf16
from pipeline.orchestrate.slots import slots_of_this_machine
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError

_SLOW_BF16 = (
    "this processor has no bf16 instructions, so that bf16 takes 3 to 40 times as long as float32; "
    "faster here: frcnn preset NAME base.precision=float32 (it changes the results)"
)
_SLOW_FLOAT32 = (
    "float32 leaves the tensor cores of a GPU idle: on an H100 training does 2.7 times as many images/s in tf32 "
    "(docs/gpu.md); faster here: frcnn preset NAME base.precision=tf32, or bf16 (it changes the results)"
)


def slow_precision(root: Path) -> str | None:
    """A line for a person where params.yaml of `root` asks for bf16 and this machine has neither a GPU nor instructions
    for it, or for float32 and it has a GPU; None elsewhere, and where params.yaml cannot be read, which the first stage
    reports."""
    try:
        precision = load_params(root / "params.yaml", ["base"]).base.precision
    except InputError:
        return None
    if precision == "float32" and slots_of_this_machine().devices:
        return _SLOW_FLOAT32
    if precision == "bf16" and not has_bf16() and not slots_of_this_machine().devices:
        return _SLOW_BF16
    return None
