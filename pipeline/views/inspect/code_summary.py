"""Stage `code` as text: the libraries and the number of modules of each lock."""

from __future__ import annotations

from pathlib import Path

from pipeline.runtime.code_locks.lock import CodeError, CodeLock, read_lock
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import LOCKS
from pipeline.runtime.words import count_text


def code_lines(root: Path, name: str) -> list[str] | None:
    """One line per lock; the modules of one where a file is named. None where the name is not of this stage.

    Raises:
        InputError: there is no such lock, or it is damaged.
    """
    folder, path = Path(root) / LOCKS, Path(name)
    if name == LOCKS.name or path.resolve() == folder.resolve():
        files = sorted(folder.glob("*.json"))
        if not files:
            raise InputError(f"{LOCKS}: no code locks yet; dvc repro {LOCKS.name}")
        return ["code locks, one per module of stages/ that the graph runs", "", *map(_line, files)]
    if path.resolve().parent != folder.resolve():
        return None
    lock = _read(path)
    return [_line(path), "", *(f"{digest}  {module}" for module, digest in lock.modules.items())]


def _line(file: Path) -> str:
    lock = _read(file)
    libraries = ", ".join(f"{name} {version}" for name, version in lock.libraries.items())
    return f"{file.stem:24} {count_text(len(lock.modules), 'module')}; {libraries or 'no library'}"


def _read(file: Path) -> CodeLock:
    try:
        return read_lock(file)
    except CodeError as error:
        raise InputError(f"{error}; dvc repro {LOCKS.name}") from None
