"""The state that a flow of stages ends in.

Import it only when Prefect's settings are in the environment (`prepare_environment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.states import Cancelled, Completed, Failed, State

from pipeline.orchestrate.record import StageRecord


def outcome_of(
    records: Mapping[str, StageRecord], errors: Mapping[str, str], stopped: bool, all_of_them: str, cached: str
) -> State[Any]:
    """The state for stages that have ended.

    Args:
        records: by the stage's name.
        errors: of the stages that failed.
        stopped: whether the flow was asked to stop.
        all_of_them: how many there are, for the message where all have a result, such as `2 stages`.
        cached: what those are that had one before, such as `cached`.
    """
    if stopped:
        return Cancelled(message="stopped; the next run resumes from here")
    if errors:
        return Failed(message="; ".join(errors.values()))
    undone = [name for name, record in records.items() if record.state not in ("cached", "completed")]
    if undone:
        return Failed(message=f"{', '.join(undone)}: not run; see the log")
    count = sum(record.state == "cached" for record in records.values())
    return Completed(message=f"{all_of_them}, {count} of them {cached}")
