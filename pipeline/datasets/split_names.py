"""Names that files and folders of a split have: train, val, valid, test and the like, also as a part of a name."""

from __future__ import annotations

import re

from pipeline.datasets.base import Split

_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "trainval", "training", "trainset", "trn"),
    "val": ("val", "valid", "validation", "valset", "dev"),
    "test": ("test", "testing", "testset"),
}
_WORDS = re.compile(r"[a-z]+", re.IGNORECASE)


def split_in(name: str) -> Split | None:
    """The split that a name stands for, by its words: val of instances_val2017; None where it names none or two."""
    words = {word.lower() for word in _WORDS.findall(name)}
    found = [split for split, names in _NAMES.items() if words & set(names)]
    return found[0] if len(found) == 1 else None


def split_word(name: str) -> str | None:
    """The word by which a name stands for a split, as it is written: Val of Val_annotations; None where it has none."""
    split = split_in(name)
    return next((word for word in _WORDS.findall(name) if split and word.lower() in _NAMES[split]), None)
