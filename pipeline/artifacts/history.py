"""history.csv of a training stage, as `dvc plots` reads it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifacts.atomic import atomic_file


def write_csv(path: Path, rows: Sequence[Mapping[str, float | int | str]], columns: Sequence[str] = ()) -> None:
    """Write rows with equal keys, which `columns` must name where there may be no row; floats keep seven significant
    digits."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
