"""Nothing half-written is ever visible: write under a temporary name, then rename."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock

UNFINISHED = ".unfinished"
"""Sub-folder of an output that is not published: notes by which a killed run resumes."""

_KEY = "key"

_PATIENCE = 5.0
"""Seconds within which the processes of a stage that was killed end; they keep its lock until then."""

_held: dict[Path, int] = {}
"""Descriptors of locks, by the temporary folders that they are of."""

_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it, on failure remove it."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # Some writers create private files; a cache shared between people needs the usual mode.
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path, key: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which takes the place of `path` on success.

    Without `key` it is empty, and removed on failure. With one it is what a run of the same key left that was killed or
    failed; only bad input (`InputError`) removes it, as it is the content's fault. What is in its sub-folder
    `.unfinished` is not published.

    Raises:
        InputError: another process is writing `path`; with a key, after some seconds too.
    """
    path = Path(path)
    temporary, retired = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.retired")
    with _alone_in(temporary, path, _PATIENCE if key is not None else 0.0):
        _remove(retired)
        if key is None or _key_of(temporary) != key:
            _empty(temporary)
        if key is not None:
            (temporary / UNFINISHED).mkdir(exist_ok=True)
            write_text(temporary / UNFINISHED / _KEY, key)
        try:
            yield temporary
            if key is not None:
                shutil.rmtree(temporary / UNFINISHED)
            if path.exists():
                os.replace(path, retired)
                os.replace(temporary, path)
                shutil.rmtree(retired, ignore_errors=True)  # the next run removes it, or reports that it cannot
            else:
                os.replace(temporary, path)
        except BaseException as error:
            if key is None or isinstance(error, InputError):
                shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def _alone_in(temporary: Path, path: Path, patience: float) -> Iterator[None]:
    """Make a folder and keep other processes out of it as long as this one lives; wait so many seconds for it."""
    until = time.monotonic() + patience
    while True:
        temporary.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:
            continue
        opened, lock = os.fstat(descriptor), try_lock(descriptor)
        if lock is None:
            os.close(descriptor)
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            still = f", and has been for {patience:.0f} s" if patience else ""
            raise InputError(f"{path}: another process is writing it{still}; wait for it, or stop it")
        # Whoever held it may have published or removed the folder since it was opened.
        if temporary.exists() and os.path.samestat(opened, os.stat(temporary)):
            break
        os.close(lock)
    _held[temporary] = lock
    try:
        yield
    finally:
        del _held[temporary]
        os.close(lock)


def lock_of(folder: Path) -> int | None:
    """The descriptor of the lock of a folder that `atomic_folder` has yielded, None of another folder. A process that
    inherits it keeps others out as long as it lives."""
    return _held.get(folder)


def _remove(retired: Path) -> None:
    """Remove a folder that may be gone, and that another process may begin to remove: one that has waited for this."""

    def raise_unless_gone(
        _: object, path: str, error: tuple[type[BaseException], BaseException, TracebackType]
    ) -> None:
        if not isinstance(error[1], FileNotFoundError):
            raise error[1]

    shutil.rmtree(retired, onerror=raise_unless_gone)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def has_key(folder: Path) -> bool:
    """Whether a folder is one of `atomic_folder` with a key, under way."""
    return _key_of(folder) is not None


def _key_of(folder: Path) -> str | None:
    try:
        return (folder / UNFINISHED / _KEY).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json_list(path: Path, items: Iterable[object]) -> None:
    """Write items as one JSON list, atomically, without holding more than one of them."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for index, item in enumerate(items):
            file.write(f"{', ' if index else '['}{json.dumps(item)}")
        file.write("]\n" if file.tell() else "[]\n")
