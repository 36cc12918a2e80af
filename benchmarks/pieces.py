"""What a long comparison has finished, kept from start to start: each piece is written at once, and not repeated.

The file holds, for each digest of settings, a record by the name of each piece. So figures of other settings are never
mixed up with these, and are found again where the settings come back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.atomic import write_text
from pipeline.runtime.errors import InputError

Record = dict[str, Any]


def digest(settings: Mapping[str, Any]) -> str:
    """Of settings that JSON can hold; their order is of no matter."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


class Pieces(Mapping[str, Record]):
    """The finished pieces of some settings, by name.

    Args:
        path: of the file, made when the first piece is finished.
        settings: digest of all that a piece depends on and its name does not say.

    Raises:
        InputError: the file is none that this class has written.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path, self._settings = path, settings
        self._all = self._read()

    @property
    def of_others(self) -> int:
        """How many pieces of other settings the file holds."""
        return sum(len(records) for settings, records in self._all.items() if settings != self._settings)

    def done(self, name: str, work: Callable[[], Record]) -> Record:
        """The record of a piece, worked out and written where it is not there."""
        if name not in self:
            record = work()
            self._all = self._read()  # another process may have finished others meanwhile
            self._all.setdefault(self._settings, {})[name] = record
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(self._all, indent=1) + "\n")
        return self[name]

    def __getitem__(self, name: str) -> Record:
        return self._all[self._settings][name]

    def __iter__(self):
        return iter(self._all.get(self._settings, {}))

    def __len__(self) -> int:
        return len(self._all.get(self._settings, {}))

    def __contains__(self, name: object) -> bool:
        return name in self._all.get(self._settings, {})

    def _read(self) -> dict[str, dict[str, Record]]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{self.path}: is not JSON ({error}); move it elsewhere to start anew") from error
        ours = isinstance(content, dict) and all(
            isinstance(records, dict) and all(isinstance(record, dict) for record in records.values())
            for records in content.values()
        )
        if not ours:
            raise InputError(f"{self.path}: holds no finished pieces; move it elsewhere to start anew")
        return content
