"""The proposal_targets stages' assignments, one entry at a time, and the normalisation of their deltas: writers and
readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.fields import DELTAS, ID, MATCHED_GT, MAX_IOU, VIEW, box_fields, table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.tables import box_columns, boxes_of, delta_columns, deltas_of
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

TARGETS_FILE = "proposal_targets.parquet"
NORMALISATION_FILE = "normalisation.json"

PROPOSAL_TARGETS = table_schema(
    ID,
    VIEW,
    ("rank", pa.int32(), "rank of the proposal, -1 for an appended gt box"),
    *box_fields("resized"),
    MAX_IOU,
    MATCHED_GT,
    ("label", pa.int16(), "class index, 0 bg, -1 ignored"),
    *[(name, kind, f"{unit}, minus mean, over std") for name, kind, unit in DELTAS],
    plain=True,
)


@dataclass(frozen=True)
class ProposalAssignment:
    """Of one entry's N candidates, proposals and then gt boxes.

    Attributes:
        ranks: (N,) of the proposals, -1 for a gt box.
        boxes: (N, 4) float32, resized pixels.
        max_iou: (N,) float32, 0..1.
        matched_gt: (N,) int, index into the trainable gt boxes.
        labels: (N,) int, class, 0 bg, -1 ignored.
        deltas: (N, 4) float32, normalised.
    """

    ranks: np.ndarray
    boxes: np.ndarray
    max_iou: np.ndarray
    matched_gt: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray


class ProposalTargetWriter:
    """Writes proposal_targets.parquet."""

    def __init__(self, work: ChunkedWork) -> None:
        self._table = work.table(TARGETS_FILE, PROPOSAL_TARGETS)

    @property
    def count(self) -> int:
        """How many candidates there are in all, when the work is finished."""
        return self._table.rows

    def add(self, entry: Entry, own: ProposalAssignment) -> None:
        """The candidates of an entry of the image at hand."""
        self._table.write(
            {
                **entry.columns,
                "rank": own.ranks,
                **box_columns(own.boxes),
                "max_iou": own.max_iou,
                "matched_gt": own.matched_gt,
                "label": own.labels,
                **delta_columns(own.deltas),
            }
        )


class ProposalTargets:
    """proposal_targets.parquet of a stage."""

    def __init__(self, folder: Path) -> None:
        self._rows = ImageRows(Path(folder) / TARGETS_FILE, PROPOSAL_TARGETS)

    def __getitem__(self, entry: Entry) -> ProposalAssignment:
        rows = self._rows[entry]
        return ProposalAssignment(
            rows["rank"], boxes_of(rows), rows["max_iou"], rows["matched_gt"], rows["label"], deltas_of(rows)
        )

    def count_entries(self, images: int) -> int:
        """How many views of so many images there are; those without candidates count too."""
        return self._rows.count_entries(images)

    def label_groups(self) -> Iterator[np.ndarray]:
        """The labels of all candidates, some images at a time."""
        for columns in self._rows.groups("label"):
            yield columns["label"]


@dataclass(frozen=True)
class Normalisation:
    """Names of the C classes, and the (C, 4) float64 mean and std by which the deltas of each are normalised."""

    classes: Sequence[str]
    mean: np.ndarray
    std: np.ndarray


def write_normalisation(folder: Path, content: Normalisation) -> None:
    """Write normalisation.json."""
    content_json = {"classes": list(content.classes), "mean": content.mean.tolist(), "std": content.std.tolist()}
    write_text(Path(folder) / NORMALISATION_FILE, json.dumps(content_json, indent=1) + "\n")


def read_normalisation(folder: Path) -> Normalisation:
    """What a proposal_targets stage normalised the deltas by.

    Raises:
        InputError: the file is missing, or holds no mean and std of each class.
    """
    path = Path(folder) / NORMALISATION_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = [str(name) for name in content["classes"]]
        mean, std = (np.array(content[name], np.float64).reshape(len(classes), 4) for name in ("mean", "std"))
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: holds no mean and std of each class ({error}); dvc repro {path.parent.name}"
        ) from error
    return Normalisation(classes, mean, std)
