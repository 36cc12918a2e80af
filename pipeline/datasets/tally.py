"""Which objects of a split are to be found, and what became of the others: said where none is left."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

_Flags = npt.NDArray[np.bool_]
_FLAGS = {
    "difficult": "clear the flag of those that are to be learnt",
    "iscrowd": "clear the flag of those that are to be learnt",
    "ignore": "take the mark from those that are to be learnt",
}
_MOST_CAUSES = 4


class Tally:
    """The objects of a split, as its images are read: a box is to be found unless difficult, a crowd or ignored."""

    def __init__(self) -> None:
        self.images = 0
        self.boxes = 0
        self._causes: Counter[tuple[str, str]] = Counter()  # kind of finding or flag, and what was done
        self._lost: Counter[tuple[str, str]] = Counter()  # the same of whole images
        self._examples: dict[tuple[str, str], str] = {}

    def add(self, labels: npt.NDArray[np.int16], difficult: _Flags, iscrowd: _Flags, made_regions: int = 0) -> None:
        """Count an image and its boxes, all of (G,); a label below 0 is an ignore region, made one by a finding or not.

        Objects that a finding turned into a region are counted by `lose`.
        """
        regions = labels < 0
        self.images += 1
        self.boxes += int((~(regions | difficult | iscrowd)).sum())
        marked = int(regions.sum()) - made_regions
        for flag, count in (
            ("ignore", marked),
            ("difficult", int((difficult & ~regions).sum())),
            ("iscrowd", int((iscrowd & ~difficult & ~regions).sum())),
        ):
            if count:
                self._causes[flag, ""] += count

    def lose(self, kind: str, done: str, detail: str, count: int = 1) -> None:
        """Count objects that a finding took away: its kind, what was done, and what was found."""
        if count:
            self._causes[kind, done] += count
        self._examples.setdefault((kind, done), detail)

    def lose_image(self, kind: str, done: str, detail: str, objects: int) -> None:
        """Count an image that a finding took away, and its objects."""
        self._lost[kind, done] += 1
        self.lose(kind, done, detail, objects)

    @property
    def main_cause(self) -> str | None:
        """The kind of finding, or the flag, that keeps most objects from being found."""
        return self._causes.most_common(1)[0][0][0] if self._causes else None

    def why_empty(self, split: str) -> str | None:
        """Where images have no box to be found, a clause that says so and why; None where there is one, or no image."""
        if self.boxes or not self.images:
            return None
        head = f"{split} has no box left"
        if not self._causes:
            images = "its only image has" if self.images == 1 else f"its {self.images:,} images have"
            return f"{head}: {images} no object"
        causes = self._causes.most_common()
        counts = []
        for (kind, done), count in causes[:_MOST_CAUSES]:
            example = self._examples.get((kind, done), "")
            counts.append(f"{count:,} {kind}{f' {done}' if done else ''}{f' ({example})' if example else ''}")
        if len(causes) > _MOST_CAUSES:
            counts.append(f"{sum(count for _, count in causes[_MOST_CAUSES:]):,} for other causes")
        return f"{head}: {', '.join(counts)}"

    def why_no_image(self) -> str | None:
        """Where no image is left of those that are listed, a clause that says why, and what to do; None elsewhere."""
        if self.images or not self._lost:
            return None
        (kind, done), count = self._lost.most_common(1)[0]
        return f"{count:,} {kind} {done} ({self._examples[kind, done]}); correct them, or see dataset.findings.{kind}"

    def remedy(self, named_in: str) -> str:
        """What to do about the main cause; `named_in` is where the classes are named, "" for in the annotations."""
        cause = self.main_cause
        if cause is None:
            return "label some"
        if cause == "unknown_class":
            # By the annotations only an object without a name is unknown, such as one of an id that COCO does not list.
            remedy = f"name the classes in {named_in} as the annotations do"
            return remedy if named_in else "give every object a class that has a name"
        return _FLAGS.get(cause, f"correct them, or see dataset.findings.{cause}")
