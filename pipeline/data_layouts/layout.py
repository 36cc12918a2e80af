"""What a data root may be: a reader, its settings, and the splits that the data declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.split_names import split_in
from pipeline.params.dataset import DatasetParams


@dataclass(frozen=True)
class Layout:
    """A layout that a data root may have.

    Attributes:
        reader: of `dataset.reader`.
        what: the layout in a few words for a person, such as "COCO with a JSON file a split".
        splits: what the reader takes for each split that the data declare, as in params.yaml. Where they declare none,
            train is all there is.
        settings: other settings of the reader's block.
        labelled: whether it is known that each split has labelled images, so that none need be read to see that.
        is_below: whether it is that of folders below the root, so that a layout of the root itself counts before it.
    """

    reader: str
    what: str
    splits: Mapping[Split, Sequence[str]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    labelled: bool = False
    is_below: bool = False

    @property
    def is_divided(self) -> bool:
        """Whether there is something to test on."""
        return bool(self.splits.get("val") or self.splits.get("test"))

    def block(self, as_declared: bool = False) -> dict[str, Any]:
        """Settings of the reader's block.

        Args:
            as_declared: give each split what the data declare and no other; else val is also the test split of data
                that have none.
        """
        own: dict[str, Any] = {split: list(self.splits.get(split, ())) for split in SPLITS}
        if not own["test"] and not as_declared:
            own["test"], own["val"] = own["val"], []
        if not own["test"]:
            del own["test"]  # no list of the block may be empty but val
        return {**own, **self.settings}

    def params(self, defaults: DatasetParams) -> DatasetParams:
        """Section `dataset` as the layout has it."""
        own = getattr(defaults, self.reader).model_copy(update=self.block())
        return defaults.model_copy(update={"reader": self.reader, self.reader: own})

    def line(self, block: Mapping[str, Any], by_share: Sequence[Split] = ()) -> str:
        """What is taken, for a person; `block` as above, and the splits whose images `dataset.split` takes of train."""
        taken = (*(split for split in SPLITS if split not in by_share), *self.settings)
        parts = [f"{name} {_shown(block[name])}" for name in taken if block.get(name)]
        if (
            "test" not in by_share
            and not self.splits.get("test")
            and block.get("test") == list(self.splits.get("val", ()))
        ):
            parts.append("no test split, so test is val")
        if by_share:
            parts.append(f"{' and '.join(by_share)} by dataset.split")
        return f"dataset: reader {self.reader}, {self.what}: {', '.join(parts)}"


@dataclass(frozen=True)
class Miss:
    """Why a data root that looks made for a reader cannot be read by it: what is there, and what to do."""

    reader: str
    why: str


def _shown(value: Any) -> str:
    items = [value] if isinstance(value, str) else value
    more = f" and {len(items) - 4} more" if len(items) > 4 else ""
    return " ".join(map(str, items[:4])) + more


def left_out(names: Sequence[str]) -> str:
    """A clause, to stand behind what a layout is, on what is like its parts and of no split; "" where nothing is."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    listed = (", " if more else " and ").join(names[:3]) + more
    return f"; {listed} {'is' if len(names) == 1 else 'are'} left out" if names else ""


def by_split(names: Iterable[str]) -> dict[Split, list[str]]:
    """Names by the split that each stands for; those of none are left out."""
    found: dict[Split, list[str]] = {}
    for name in sorted(names):
        split = split_in(name)
        if split:
            found.setdefault(split, []).append(name)
    return found
