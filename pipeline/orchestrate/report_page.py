"""The report at the end of a flow, written by a separate process whose failure does not fail the flow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SECONDS = 600


def renew_report(root: Path) -> str | None:
    """Write `root`/report.html where dvc.lock is newer; a line on it for the log, None where it was new enough."""
    page, lock = root / "report.html", root / "dvc.lock"
    if not lock.is_file() or (page.is_file() and page.stat().st_mtime >= lock.stat().st_mtime):
        return None
    command = [sys.executable, "-m", "pipeline.cli", "report"]
    try:
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"report: {error}"
    lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines()
    return f"report: {lines[-1] if lines else f'ended with {ended.returncode}'}"
