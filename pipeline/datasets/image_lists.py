"""Lists of image names, one a line, as VOC and KITTI have them for their splits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_junk, is_plain
from pipeline.datasets.image_suffixes import ALL
from pipeline.datasets.records import read_text
from pipeline.runtime.errors import InputError

_FLAGGED = re.compile(r"(.*\S)[ \t]+(?:-1|0|1)")
_PAIR = re.compile(r"(.*\.\w+)[ \t]+\S.*\.xml", re.IGNORECASE)
_SUFFIXES = (*ALL, ".xml", ".txt")


class ImageList(NamedTuple):
    """The names in a list, without suffixes, and what was passed over, such as `._a`.

    `folders` is what stood before every name and was taken off, such as "JPEGImages/".
    """

    names: list[str]
    junk: list[str]
    folders: str = ""


def read_image_list(
    path: Path,
    is_there: Callable[[str], bool],
    faults: Faults,
    remedy: str = "write one image name per line",
    with_flags: bool = False,
    folder: str | None = None,
) -> ImageList:
    """Read a list.

    Names may hold spaces, and suffixes such as .jpg are taken off.

    Args:
        path: the list.
        is_there: whether there is an image or an annotation of this name. It tells what a line means: where there is a
            "my photo 1", that is a name.
        faults: whether to continue after lines that are not image names.
        remedy: what to do where there is no such list.
        folder: the name of that in which the images lie. It may stand before the names, with others before it, which
            must be the same in all lines.
        with_flags: lines may end in a second column, which is passed over: VOC's class files have -1, 0 or 1 there,
            Paddle's lists the XML file.

    Raises:
        InputError: the list cannot be read, lists no image, or a line is not an image name.
    """
    lines = [line.rstrip("\r") for line in read_text(path, remedy).split("\n")]
    names = [line if line != line.strip() and is_there(line) else line.strip() for line in lines if line.strip()]
    if with_flags:
        names = _without_second(names, _FLAGGED, is_there)
        names = _without_second(names, _PAIR, is_there)
    folders = _common_folders(names, folder) if folder else ""
    names = [name[len(folders) :] for name in names]
    junk = [name for name in names if is_junk(name)]
    names = [_without_suffix(name, is_there) for name in names if not is_junk(name)]
    if not names:
        raise InputError(f"{path}: lists no image; write one image name per line")
    plain = []
    for name in names:
        with faults.going_on():
            if not is_plain(name, ".xml"):
                raise InputError(f"{path}: {name[:60]!r} is not an image name; write it without folders")
            plain.append(name)
    return ImageList(plain, junk, folders)


def _common_folders(names: Sequence[str], folder: str) -> str:
    """What stands before every name and ends in this folder and a slash or backslash; "" where nothing is."""
    ends = {name[: max(name.rfind("/"), name.rfind("\\")) + 1] for name in names}
    common = ends.pop() if len(ends) == 1 else ""
    parts = re.split(r"[/\\]", common)
    return common if len(parts) > 1 and parts[-2] == folder and ".." not in parts else ""


def _without_second(names: Sequence[str], form: re.Pattern[str], is_there: Callable[[str], bool]) -> list[str]:
    """The first column, where all lines have two and more images are there by it than by the whole lines."""
    matches = [form.fullmatch(name) for name in names]
    first = [match[1] for match in matches if match]
    if len(first) < len(names):
        return list(names)
    whole = sum(map(is_there, names))
    return list(names) if whole and whole >= sum(map(is_there, first)) else first


def _without_suffix(name: str, is_there: Callable[[str], bool]) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _SUFFIXES and not is_there(name) else name
