"""Whether DVC can take a data root for a dependency: what lies in it that DVC does not hash, or cannot.

`dvc repro` compares the content of data/raw with that of the last run. Linked folders and folders with a `.dvc` are
left out of that without a word, so that a changed photo would go unnoticed; at other things DVC stops, or waits for
ever. Links to files are followed, and so is data/raw itself.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.file_names import printable
from pipeline.runtime.errors import InputError

_NAMED = 3  # faults of a kind that are named, the rest is counted
_LEFT_OUT = {".git", ".hg", ".dvc"}  # by DVC itself, and no place for photos


@dataclass(frozen=True)
class Fault:
    """One thing below a data root that DVC does not hash.

    Attributes:
        kind: of `_KINDS`.
        path: below the root.
        target: where a link points, as it is written; empty where it is none.
        detail: why something cannot be read; empty otherwise.
    """

    kind: str
    path: str
    target: str = ""
    detail: str = ""


@dataclass(frozen=True)
class _Kind:
    one: str  # what is said of one path
    many: str  # and of several
    remedy: Callable[[str, Fault], str]  # of the root and the first fault


def _in(root: str, path: str) -> str:
    return shlex.quote(printable(os.path.join(root, path)))


def _instead_of_link(root: str, fault: Fault) -> str:
    link = os.path.join(root, fault.path)
    target = os.path.realpath(link)
    if f"{os.path.realpath(os.path.dirname(link))}/".startswith(f"{target.rstrip('/')}/"):
        return f"remove it (rm {_in(root, fault.path)}), it leads in a circle"
    place = _in(root, fault.path)
    near = os.stat(target).st_dev == os.lstat(link).st_dev  # hard links take no space, but do not reach another disk
    copy = f"cp {'-al' if near else '-a'} {shlex.quote(printable(target))} {place}"
    return f"put the folder itself in its place (rm {place} && {copy})"


_KINDS = {
    "linked_folder": _Kind(
        "is a link to a folder, which DVC does not follow, so that a changed file there would go unnoticed",
        "are links to folders, which DVC does not follow, so that a changed file there would go unnoticed",
        _instead_of_link,
    ),
    "other_project": _Kind(
        "has a .dvc, so that DVC takes it for another project and does not see a changed file in it",
        "have a .dvc, so that DVC takes them for other projects and does not see a changed file in them",
        lambda root, fault: f"move {_in(root, f'{fault.path}/.dvc')} elsewhere, or make that folder the data root",
    ),
    "broken_link": _Kind(
        "is a link that leads nowhere, at which DVC stops",
        "are links that lead nowhere, at which DVC stops",
        lambda root, fault: "remove or fix it",
    ),
    "special": _Kind(
        "is not a file but a pipe, socket or device, at which DVC stops or waits for ever",
        "are no files but pipes, sockets or devices, at which DVC stops or waits for ever",
        lambda root, fault: "remove it",
    ),
    "not_utf8": _Kind(
        "has a name that is not UTF-8, at which DVC stops",
        "have names that are not UTF-8, at which DVC stops",
        lambda root, fault: "rename it",
    ),
    "dvcignore": _Kind(
        "is a file for DVC itself, which stops at one among data",
        "are files for DVC itself, which stops at one among data",
        lambda root, fault: f"remove or rename it (rm {_in(root, fault.path)})",
    ),
    "unreadable": _Kind(
        "cannot be read",
        "cannot be read",
        lambda root, fault: f"make it readable (chmod -R u+rX {shlex.quote(root)})",
    ),
}


def check_tree(root: Path) -> None:
    """Refuse a data root that DVC does not hash whole.

    Raises:
        InputError: what is in it, kind by kind, and the remedy of each.
    """
    clauses = faults_by_kind(root)
    if clauses:
        raise InputError(f"{root}: {'; '.join(clauses)}")


def faults_by_kind(root: Path) -> list[str]:
    """A clause on each kind of what DVC does not hash: the first few named, the rest counted, and the remedy."""
    faults = tree_faults(root) if os.path.isdir(root) else []  # readers report a missing one
    parts = []
    for kind, words in _KINDS.items():
        own = [fault for fault in faults if fault.kind == kind]
        if own:
            names = ", ".join(map(_named, own[:_NAMED]))
            more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
            said = words.one if len(own) == 1 else words.many
            remedy = words.remedy(str(root), own[0])
            parts.append(f"{names}{more} {said}; {remedy}{', and so for each' if len(own) > 1 else ''}")
    return parts


def _named(fault: Fault) -> str:
    more = f" (-> {printable(fault.target)})" if fault.target else f" ({fault.detail})" if fault.detail else ""
    return printable(fault.path) + more


def tree_faults(root: Path) -> list[Fault]:
    """All that lies below a data root and that DVC does not hash, sorted by path; the root may be a link itself."""
    found: list[Fault] = []
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(os.path.join(root, place)) as entries:
                for entry in entries:
                    path = f"{place}/{entry.name}" if place else entry.name
                    found += _faults_of(entry, path)
                    if entry.is_dir(follow_symlinks=False) and entry.name not in _LEFT_OUT:
                        waiting.append(path)
        except OSError as error:
            found.append(Fault("unreadable", place or ".", detail=error.strerror or str(error)))
    return sorted(found, key=lambda fault: fault.path)


def _faults_of(entry: os.DirEntry[str], path: str) -> Iterator[Fault]:
    if entry.name == ".dvc" and "/" in path:
        yield Fault("other_project", path.rpartition("/")[0])
    if entry.name in _LEFT_OUT:
        return
    if not (entry.name.isascii() or _is_utf8(entry.name)):
        yield Fault("not_utf8", path)
    elif entry.name == ".dvcignore":
        yield Fault("dvcignore", path)
    elif entry.is_symlink():
        yield from _faults_of_link(entry, path)
    elif entry.is_file(follow_symlinks=False):
        if not os.access(entry.path, os.R_OK) and os.path.lexists(entry.path):
            yield Fault("unreadable", path, detail="Permission denied")
    elif not entry.is_dir(follow_symlinks=False):
        yield Fault("special", path)


def _faults_of_link(entry: os.DirEntry[str], path: str) -> Iterator[Fault]:
    target = os.readlink(entry.path)
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:
        yield Fault("broken_link", path, target)
        return
    if stat.S_ISDIR(mode):
        yield Fault("linked_folder", path, target)
    elif not stat.S_ISREG(mode):
        yield Fault("special", path, target)
    elif not os.access(entry.path, os.R_OK):
        yield Fault("unreadable", path, target, "Permission denied")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
