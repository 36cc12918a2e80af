"""Whether the declared precision is the slow one on this machine."""

from __future__ import annotations

from pathlib import Path

from pipeline.detector.processor import has_bf16
from pipeline.errors import InputError
from pipeline.orchestrate.slots import slots_of_this_machine
from pipeline.params.file import load_params


def slow_precision(root: Path) -> str | None:
    """A line for a person where params.yaml of `root` asks for bf16 and this machine has neither a GPU nor instructions
    for it; None elsewhere, and where params.yaml cannot be read, which the first stage reports."""
    if has_bf16():
        return None
    try:
        base = load_params(root / "params.yaml", ["base"]).base
    except InputError:
        return None
    if base.precision != "bf16" or slots_of_this_machine().devices:
        return None
    return (
        "this processor has no bf16 instructions, so that bf16 takes 3 to 40 times as long as float32; "
        "faster here: frcnn preset NAME base.precision=float32 (it changes the results)"
    )
