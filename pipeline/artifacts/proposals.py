"""Proposals, one entry at a time, of the proposals and the detect stages: their writer and their reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.fields import ID, VIEW, box_fields, table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.tables import box_columns, boxes_of

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

PROPOSALS_FILE = "proposals.parquet"

PROPOSALS = table_schema(
    ID,
    VIEW,
    ("rank", pa.int32(), "0 is the best"),
    ("score", pa.float32(), "fg probability, 0..1"),
    *box_fields("resized"),
    plain=True,
)


@dataclass(frozen=True)
class RankedProposals:
    """Of one entry, by ascending rank: `boxes` (P, 4) float32 resized pixels, `scores` (P,) float32, `ranks` (P,)."""

    boxes: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray

    def __len__(self) -> int:
        return len(self.ranks)


class ProposalWriter:
    """Writes proposals.parquet."""

    def __init__(self, work: ChunkedWork) -> None:
        self._table = work.table(PROPOSALS_FILE, PROPOSALS)

    @property
    def count(self) -> int:
        """How many proposals there are in all, when the work is finished."""
        return self._table.rows

    def add(self, entry: Entry, boxes: np.ndarray, scores: np.ndarray) -> None:
        """The (P, 4) boxes, resized pixels, and (P,) scores of an entry of the image at hand, the best first."""
        self._table.write({**entry.columns, "rank": np.arange(len(boxes)), "score": scores, **box_columns(boxes)})


class StoredProposals:
    """proposals.parquet of a stage."""

    def __init__(self, folder: Path) -> None:
        self._rows = ImageRows(Path(folder) / PROPOSALS_FILE, PROPOSALS)

    def __len__(self) -> int:
        """How many there are in all."""
        return len(self._rows)

    def __getitem__(self, entry: Entry) -> RankedProposals:
        rows = self._rows[entry]
        return RankedProposals(boxes_of(rows), rows["score"], rows["rank"])

    def count_entries(self, images: int) -> int:
        """How many views of so many images there are; those without proposals count too."""
        return self._rows.count_entries(images)
