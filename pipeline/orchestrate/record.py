"""The record of a flow, stage by stage, kept beside the workspace's caches: times do not belong to any artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.artifacts.atomic import write_text

_PLACE = Path(".dvc/tmp/frcnn-last-flow.json")


@dataclass
class StageRecord:
    """`state` is cached, completed, failed, cancelled or waiting; `seconds` from DVC's start to its end.

    `marks` are seconds since the flow began, as in `StageRun`; `attempts` counts the times that DVC was started.
    """

    step: str
    state: str = "waiting"
    seconds: float = 0.0
    attempts: int = 0
    marks: dict[str, float] = field(default_factory=dict)


def write_record(root: Path, seconds: float, stages: Mapping[str, StageRecord]) -> None:
    """Keep the record of the last flow of the workspace."""
    record = {"seconds": seconds, "stages": {name: asdict(stage) for name, stage in stages.items()}}
    write_text(Path(root) / _PLACE, json.dumps(record, indent=1))


def read_record(root: Path) -> tuple[float, dict[str, StageRecord]]:
    """The seconds of the last flow, and its stages.

    Raises:
        FileNotFoundError: no flow has ended here yet.
    """
    record = json.loads((Path(root) / _PLACE).read_text(encoding="utf-8"))
    return record["seconds"], {name: StageRecord(**stage) for name, stage in record["stages"].items()}
