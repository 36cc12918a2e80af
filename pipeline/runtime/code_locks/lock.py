"""Locks of stages' code: read, written and compared.

A lock names the modules that a stage's module reaches by import, each with its digest, and the versions of the
libraries that results depend on. A stage depends on its lock file and not on modules, so that DVC reruns it where its
own code has changed, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NOT_INSTALLED = "none"


class CodeError(Exception):
    """A module cannot be read, or the code is not what a lock says; one line."""


@dataclass(frozen=True)
class CodeLock:
    """The code that can change a stage's result.

    Attributes:
        module: the stage's, `stages.NAME`.
        libraries: the versions of those it imports, by the names they are imported by.
        modules: digests by path below the root, its own among them.
        parts: modules that it loads by a name which it is given, and which are locked with it.
    """

    module: str
    libraries: Mapping[str, str]
    modules: Mapping[str, str]
    parts: tuple[str, ...] = ()

    def text(self) -> str:
        """The content of its file; equal locks have equal texts."""
        content = {"module": self.module, "libraries": dict(self.libraries), "modules": dict(self.modules)}
        parts = {"parts": list(self.parts)} if self.parts else {}
        return json.dumps({**content, **parts}, indent=1, sort_keys=True) + "\n"

    @property
    def digest(self) -> str:
        """32 hexadecimal digits."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:32]

    def changes(self, later: CodeLock) -> list[str]:
        """What differs in a later lock: changed, added or removed modules by path, and libraries with both versions."""
        paths = sorted({*self.modules, *later.modules})
        changed = [path for path in paths if self.modules.get(path) != later.modules.get(path)]
        for name in sorted({*self.libraries, *later.libraries}):
            old, new = (lock.libraries.get(name, NOT_INSTALLED) for lock in (self, later))
            if old != new:
                changed.append(f"{name} {old} to {new}")
        return changed


def read_lock(path: Path) -> CodeLock:
    """The lock in a file.

    Raises:
        CodeError: there is none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CodeError(f"{path}: no such code lock") from None
    except OSError as error:
        raise CodeError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = ""
    return parse_lock(text, path)


def parse_lock(text: str, source: Path | str) -> CodeLock:
    """The lock that a text holds.

    Raises:
        CodeError: it holds none.
    """
    try:
        content = json.loads(text)
        module, libraries, modules = content["module"], content["libraries"], content["modules"]
        parts = tuple(content.get("parts", ()))
        texts = [module, *libraries.keys(), *libraries.values(), *modules.keys(), *modules.values(), *parts]
        if all(isinstance(text, str) for text in texts):
            return CodeLock(module, libraries, modules, parts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise CodeError(f"{source}: is not a code lock")
