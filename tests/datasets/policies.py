"""The committed policy of findings, and variations of it."""

from __future__ import annotations

from pipeline.params.dataset import FindingPolicy
from tests.defaults import default_params


def policy(**changes: str) -> FindingPolicy:
    """`dataset.findings` of the default preset, with `changes`, kind to action."""
    committed = default_params().dataset.findings
    return FindingPolicy.model_validate({**committed.model_dump(), **changes}, strict=True)
