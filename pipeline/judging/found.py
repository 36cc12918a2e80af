"""Detections from a file, before they are matched with a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.errors import InputError


@dataclass
class Found:
    """D detections: the image and the class of each by name, its score, and xyxy in pixels of the original image.

    Attributes:
        form: what the file is, in words.
    """

    form: str
    images: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, where: str, image: str, name: str, score: Any, box: Sequence[Any]) -> None:
        """Append one, whose box has numbers.

        Args:
            where: file and place in it, for the message.

        Raises:
            InputError: its score or its box is none.
        """
        score, *corners = (_number(value) for value in (score, *box))
        if score is None:
            raise InputError(f"{where}: its score is not a finite number; give detections with scores")
        x1, y1, x2, y2 = (None,) * 4 if len(corners) != 4 else corners
        if x1 is None or y1 is None or x2 is None or y2 is None or x2 < x1 or y2 < y1:
            raise InputError(f"{where}: its box is not four finite numbers with no negative side; correct it")
        self.images.append(image)
        self.classes.append(name)
        self.scores.append(score)
        self.boxes.append((x1, y1, x2, y2))

    def __len__(self) -> int:
        return len(self.scores)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) < 1e30 else None  # of NaN too


def sorted_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with this suffix, without those that systems leave."""
    return sorted(path for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith("."))
