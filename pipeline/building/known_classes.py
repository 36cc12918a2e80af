"""Maps the labels of a detector's own classes to those of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.datasets.same_class import rows_of_classes
from pipeline.nn.postprocess import DetectedBoxes


class KnownClasses:
    """The classes that a detector and a data set both name.

    Args:
        known: the detector's classes, wanted: the data set's; the background first.
    """

    def __init__(self, known: Sequence[str], wanted: Sequence[str]) -> None:
        rows = rows_of_classes(wanted, known)[1:]
        found = {label for label, _ in rows}
        self.unknown = [name for label, name in enumerate(wanted[1:], start=1) if label not in found]
        """The data set's classes that the detector does not know."""
        self._label_of = torch.zeros(len(known), dtype=torch.int64)
        for label, own in rows:
            self._label_of[own] = label

    def of_data_set(self, found: DetectedBoxes, count: int | None) -> DetectedBoxes:
        """The best `count` of the detections whose class the data set has, None for all, with its labels."""
        labels: Tensor = self._label_of.to(found.labels.device)[found.labels]
        keep = torch.nonzero(labels > 0).squeeze(1)[:count]
        return DetectedBoxes(found.boxes[keep], found.scores[keep], labels[keep])
