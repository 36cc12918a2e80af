"""Which names of two data sets name one class, however each writes it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.datasets.class_names import clean_name

# As Pascal VOC writes it, and COCO.
_ALIKE = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def same_class_key(name: str) -> str:
    """What two names have in common where they name one class: case, spaces, underscores and hyphens do not count, and
    VOC's word for a thing is COCO's (diningtable and dining table differ in a space alone)."""
    plain = "".join(char for char in clean_name(name).casefold() if char not in " _-")
    return _ALIKE.get(plain, plain)


def rows_of_classes(wanted: Sequence[str], known: Sequence[str]) -> list[tuple[int, int]]:
    """Of two lists of class names, the background first: the label in each of every class that both name, and 0, 0.

    Where a list names a class twice, its first counts.
    """
    place: dict[str, int] = {}
    for label, name in enumerate(known[1:], start=1):
        place.setdefault(same_class_key(name), label)
    pairs = ((label, place.get(same_class_key(name))) for label, name in enumerate(wanted[1:], start=1))
    return [(0, 0), *((label, found) for label, found in pairs if found is not None)]
