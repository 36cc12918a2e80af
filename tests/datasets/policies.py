"""The committed policy of findings, and variations of it."""

from __future__ import annotations

from pipeline.params.dataset import FindingPolicy
from pipeline.params.file import load_params
from tests.conftest import ROOT


def policy(**changes: str) -> FindingPolicy:
    """`dataset.findings` of the default preset, with `changes`, kind to action."""
    committed = load_params(ROOT / "pipeline/presets/default.yaml").dataset.findings
    return FindingPolicy.model_validate({**committed.model_dump(), **changes}, strict=True)
