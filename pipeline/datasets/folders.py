"""What lies below a folder, each file found once however many links lead there."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

from pipeline.datasets.file_names import is_junk


@dataclass
class Below:
    """What `look_below` found; all paths begin with that of the folder.

    Attributes:
        files: everything that is not a folder, sorted; broken links, pipes and so on too.
        junk: files and folders that are passed over, unsorted.
        unreadable: folders that cannot be listed, and why.
    """

    files: list[str] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def look_below(folder: str | os.PathLike[str]) -> Below:
    """Everything below a folder, linked folders included.

    Each folder is entered once: under its own name where it lies below, else by the first link to it. So no link leads
    in a circle.
    """
    found, entered = Below(), set[tuple[int, int]]()
    waiting, linked = deque([os.fspath(folder)]), deque[str]()
    while waiting or linked:
        place = waiting.popleft() if waiting else linked.popleft()
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if is_junk(entry.name):
                        found.junk.append(entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        linked.append(entry.path)
                    else:
                        found.files.append(entry.path)
        except OSError as error:
            found.unreadable.append((place, error.strerror or str(error)))
    found.files.sort()
    return found
