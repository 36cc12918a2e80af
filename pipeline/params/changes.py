"""Compares values of params.yaml, among them those of a running stage with the file at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.params.reading import read_content, sections_in
from pipeline.params.section import Section
from pipeline.runtime.errors import ChangedMeanwhile, InputError

_MOST_NAMED = 3


class RunningParams:
    """The sections of params.yaml that a stage was given, read and checked when this is made.

    Args:
        path: of params.yaml. models: of every section that may be named. names: of the stage's sections.

    Attributes:
        params: the sections.

    Raises:
        InputError: the file is missing or no YAML mapping, or a section, key, type or value is wrong.
    """

    def __init__(self, path: Path, models: Mapping[str, type[Section]], names: Sequence[str]) -> None:
        content = read_content(path)
        self.params = sections_in(content, path, models, names)
        self._path, self._began = path, {name: content[name] for name in names}

    def check(self) -> None:
        """Check before publishing that the sections still have the values that the stage began with. DVC reads the file
        again when the stage ends, and files the result under what it says then.

        Raises:
            ChangedMeanwhile: they have others, or the file can no longer be read.
        """
        try:
            content = read_content(self._path)
        except (InputError, OSError) as error:
            what = str(error)
        else:
            now = {name: content[name] for name in self._began if name in content}
            keys = list(differing(self._began, now))
            if not keys:
                return
            more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
            what = ", ".join(keys[:_MOST_NAMED]) + more
        raise ChangedMeanwhile(
            f"{self._path} changed while it ran ({what}), so its result is not kept; undo the edit and rerun, which "
            "resumes where the stage keeps states, or run dvc repro, which starts anew"
        )


def differing(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys whose values differ or that one alone has, `section.key`, in the order of `other`."""
    for key in dict.fromkeys((*other, *one)):
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            yield from differing(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs or (key in one) != (key in other):
            yield f"{prefix}{key}"
