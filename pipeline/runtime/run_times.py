"""When each stage last ran, with which version, and what it took. Stored in DVC's own
temporary folder, since it belongs to no artifact."""

from __future__ import annotations

import contextlib
import json
import resource
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.artifacts.atomic import write_text
from pipeline.runtime.version import BEFORE_VERSIONS, current_version

_FOLDER = Path(".dvc/tmp/frcnn-stages")


@dataclass(frozen=True)
class RunTime:
    """`started` in seconds since 1970, `seconds` from start to end, `peak_mb` the most memory it held, `version` the
    project's."""

    started: float
    seconds: float
    peak_mb: float
    version: str = BEFORE_VERSIONS


def record_run(root: Path, stage: str, started: float, seconds: float) -> None:
    """Keep the last run of a stage of the project in `root`; nothing where that is not a DVC repository."""
    if not (root / ".dvc").is_dir():
        return
    # Kilobytes on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run = RunTime(round(started, 3), round(seconds, 3), round(peak, 1), current_version())
    # A disk that takes no notes must not fail a stage that has succeeded.
    with contextlib.suppress(OSError):
        (root / _FOLDER).mkdir(parents=True, exist_ok=True)
        write_text(run_place(root, stage), json.dumps(asdict(run)) + "\n")


def run_place(root: Path, stage: str) -> Path:
    """The file with the note of a stage's last run."""
    return root / _FOLDER / f"{stage}.json"


def read_runs(root: Path) -> dict[str, RunTime]:
    """The last run of each stage in this workspace; notes that cannot be read are skipped."""
    runs = {}
    for path in sorted((Path(root) / _FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            run = RunTime(**json.loads(path.read_text(encoding="utf-8")))
            if all(isinstance(own, float | int) for own in (run.started, run.seconds, run.peak_mb)):
                runs[path.stem] = run
    return runs
