"""The originals of images whose resized pixels are not stored, for a stage whose command gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.datasets.originals import Originals

if TYPE_CHECKING:
    from pipeline.runtime.stage import Stage

ORIGINALS = {
    "dataset": "folder of the dataset stage, and",
    "raw": "linked data root (data/raw): both for images whose pixels are not stored (resize.keep)",
}
"""The options that name them, for `run_stage`."""


def originals_of(stage: Stage) -> Callable[[], Originals] | None:
    """A function that opens their reader on first use; None if the command does not give both options."""
    if stage.inputs["dataset"] is None or stage.inputs["raw"] is None:
        return None
    return lambda: Originals(stage.input("dataset"), stage.linked("raw"))
