"""What a detect stage leaves in place of detections where the network that it is to run does not exist.

Its other files are there, and empty. The evaluate stage that reads them judges nothing, and its metrics.json is empty.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.atomic import write_text

_FILE = "absent.txt"


def write_absent(folder: Path, reason: str) -> None:
    """Say in a stage's folder that its network does not exist, and why: a sentence without its full stop."""
    write_text(Path(folder) / _FILE, reason + "\n")


def why_absent(folder: Path) -> str | None:
    """Why the network of a detect stage does not exist; None where it does."""
    path = Path(folder) / _FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None
