"""What the name of a class may be, whatever the format it is written in.

Names are compared as a person reads them: white space around them does not count, several spaces are one, invisible
characters are none, and an accent is the same in one character or in two (Unicode's NFC). Upper and lower case differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from pipeline.runtime.errors import InputError

BACKGROUND = "background"  # what label 0 is called in classes.json and in all that is made of it
_LONGEST = 200  # characters
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))  # zero width space, word joiner, byte order mark


def clean_name(name: str) -> str:
    """The name as it is compared and shown, empty where nothing is to be seen."""
    if name.isascii():
        return " ".join(name.split())
    return " ".join(unicodedata.normalize("NFC", name.translate(_INVISIBLE)).split())


def distinct_names(names: Iterable[str]) -> list[str]:
    """The names as they are shown, each once, in the order of their first; empty ones are none."""
    return [name for name in dict.fromkeys(map(clean_name, names)) if name]


def check_classes(names: Sequence[str], where: str, remedy: str = "") -> tuple[str, ...]:
    """The classes of a data set, in the order of their labels from 1.

    Args:
        names: as written.
        where: what names them, such as "dataset.voc.classes" or a file.
        remedy: what else to do about a name that cannot be one than to change it there.

    Raises:
        InputError: a name cannot be one, or is there twice.
    """
    classes = tuple(map(clean_name, names))
    for written, name in zip(names, classes, strict=True):
        fault = _fault(name)
        if fault:
            raise InputError(f"{where}: a class is called {_shown(written)}, {fault}; rename it{remedy}")
    if len(set(classes)) < len(classes):
        twice = next(name for index, name in enumerate(classes) if name in classes[:index])
        raise InputError(f"{where}: the class {_shown(twice)} is named twice; name each class once")
    return classes


def _fault(name: str) -> str:
    if not name:
        return "which is not a name"
    if name.casefold() == BACKGROUND:
        return "which is the name of what is not an object"
    if len(name) > _LONGEST:
        return f"a name of {len(name)} characters, at most {_LONGEST} are possible"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "with a character that cannot be shown"
    return ""


def _shown(name: str) -> str:
    text = repr(name) if len(name) <= 60 else f"{name[:60]!r}..."
    return text if text.isprintable() else ascii(name[:60])


class Labels(dict[str, int]):
    """Name of a class as written -> its label from 1, 0 where it is none of `classes`."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__((name, label) for label, name in enumerate(classes, start=1))

    def __missing__(self, name: str) -> int:
        label = self.get(clean_name(name), 0)
        self[name] = label  # so that each spelling is looked at once
        return label
