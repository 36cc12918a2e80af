"""The images of an evaluate stage with the most errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.tables import open_parquet
from pipeline.runtime.errors import InputError
from pipeline.views.inspect.text import table_lines

ERRORS = ("missed", "background", "wrong_class", "badly_placed", "duplicate")


def worst_lines(folder: Path, score: float, first: int) -> Iterator[str]:
    """The `first` images with most errors: detections of at least this score that are wrong, and missed gt boxes.

    A gt box is missed where no correct detection of at least the score finds it.

    Raises:
        InputError: matches.parquet is missing, of an older run, or damaged.
    """
    path = folder / "matches.parquet"
    file = open_parquet(path, MATCHES)
    del file
    try:
        table = pq.read_table(path, columns=["image_id", "kind", "score"], read_dictionary=["image_id", "kind"])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path}: is damaged ({reason}); dvc repro {folder.name}") from error
    ids, image = _codes(table, "image_id")
    kinds, kind = _codes(table, "kind")
    certain = table.column("score").to_numpy() >= score
    counts = np.zeros((len(ERRORS), len(ids)), dtype=np.int64)
    for row, name in enumerate(ERRORS):
        code = kinds.index(name) if name in kinds else -1
        own = (kind == code) & (certain | (name == "missed"))
        if name == "missed" and "correct" in kinds:
            # Its only correct detection is below the score.
            own |= (kind == kinds.index("correct")) & ~certain
        counts[row] = np.bincount(image[own], minlength=len(ids))
    total = counts.sum(axis=0)
    order = np.argsort(-total, kind="stable")[:first]
    yield f"the {len(order)} of {len(ids):,} images with the most errors, detections of score {score:g} and up:"
    rows = [("image_id", "errors", *(name.replace("_", " ") for name in ERRORS))]
    rows += [(ids[i], str(total[i]), *(str(count) for count in counts[:, i])) for i in order]
    yield from table_lines(rows, right=range(1, len(rows[0])))
    if len(order):
        yield f"look at one: frcnn inspect {folder.name} --image {ids[order[0]]}"


def _codes(table: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """The distinct values of a column, and (rows,) int64 the index of each row's value."""
    column = table.column(name).unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    return column.dictionary.to_pylist(), np.asarray(column.indices, dtype=np.int64)
