"""Names that differ in the form of their accents alone.

Unicode writes an accent in one character with its letter (NFC) or as one of its own (NFD). macOS names files in the
second form, most other systems keep what is typed, which is the first; annotations and photos of two systems meet in
one folder.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Mapping


def by_form(names: Iterable[str]) -> dict[str, str]:
    """NFC -> the one name of that form that is not plain ASCII; "" where there are two."""
    forms: dict[str, str] = {}
    for name in names:
        if not name.isascii():
            form = unicodedata.normalize("NFC", name)
            forms[form] = "" if form in forms else name
    return forms


def in_other_form(name: str, names: Container[str], forms: Mapping[str, str]) -> str:
    """The one of `names` that is this name in the other form; the name itself where it is there, or none is.

    Args:
        name: as written.
        names: those that are there.
        forms: `by_form` of them.
    """
    if name.isascii() or name in names:
        return name
    return forms.get(unicodedata.normalize("NFC", name)) or name
