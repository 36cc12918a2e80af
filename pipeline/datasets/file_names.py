"""Names of files: which may stand in lists of images, which are junk, and how they are reported."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable

from pipeline.runtime.words import count_text

_LONGEST = 255  # bytes, of a file in its folder
_SHORT = 200
_IN_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}  # controls, halves of characters, breaks of lines and paragraphs
# Written by macOS, Windows, Jupyter and Synology into folders of photos; some have the names of photos.
_JUNK = {
    *(".ds_store", ".appledouble", ".trashes", ".spotlight-v100", ".fseventsd", "__macosx"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *(".ipynb_checkpoints", "@eadir"),
}


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is no one's data."""
    return name.startswith("._") or name.lower() in _JUNK


def junk_remark(names: Iterable[str]) -> list[str]:
    """One line on the files that were passed over, none where there are none."""
    paths = sorted(set(names))
    what = count_text(len(paths), "file")
    return [f"passed over {what} that systems leave, such as {printable(paths[0])}"] if paths else []


def is_plain(part: str, suffix: str = "") -> bool:
    """Whether a path part names something in its own folder.

    Any letter, space, sign or emoji may stand in it, but no control character and no line break. The part must leave
    room for `suffix`.
    """
    fits = len((part + suffix).encode(errors="replace")) <= _LONGEST
    return fits and part not in ("", ".", "..") and not set(part) & set("/\\") and _in_one_line(part)


def shortened_name(name: str) -> str:
    """A name that leaves room for more in that of a file; a long one is cut and ends in its hash."""
    encoded = os.fsencode(name)
    if len(encoded) <= _SHORT:
        return name
    return f"{encoded[: _SHORT - 9].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def printable(text: str) -> str:
    """The text with what would break its line, or is not UTF-8, escaped as in Python."""
    if _in_one_line(text):
        return text
    return "".join(c if _in_one_line(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # so Python writes a byte of a file name that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(character)[1:-1]


def _in_one_line(text: str) -> bool:
    return text.isprintable() or not any(unicodedata.category(c) in _IN_NO_NAME for c in text)
