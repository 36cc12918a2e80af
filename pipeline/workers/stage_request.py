"""What a coordinator asks of a worker: one run of one stage, whose key it knows beforehand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.orchestrate.lock_entries import key_of
from pipeline.workers.setting import Setting

MAY_RETRY = "MayRetry"
"""Name of the state of a run that failed for a passing reason."""


class StageRequest(BaseModel):
    """One run.

    Attributes:
        stage: its name in dvc.yaml. revision: the commit whose code runs.
        params, graph: texts of params.yaml and of dvc.yaml.
        before: dvc.lock's entries of the stages it reads from.
        expected: the entry that the run is to leave, its outputs without digests.
        code: texts of the code locks that it reads, by path.
    """

    model_config = ConfigDict(extra="forbid")

    stage: str
    revision: str
    params: str
    graph: str
    before: dict[str, dict[str, Any]]
    expected: dict[str, Any]
    code: dict[str, str]

    @property
    def setting(self) -> Setting:
        """What the run is set to."""
        return Setting(self.params, self.graph)

    @property
    def key(self) -> str:
        """Under which the run-cache is to have the result."""
        return key_of(self.expected)
