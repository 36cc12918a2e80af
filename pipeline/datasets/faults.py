"""Faults that no policy covers, such as a file that cannot be parsed: they end the reading, or are kept until its end.

A stage stops at the first, `frcnn check-data` wants them all. Both read by the same code: a reader puts `going_on()`
around the reading of one list, file or line, and continues as if that one were absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.runtime.errors import InputError


class Faults:
    """The faults so far, each once.

    Args:
        keep: record faults and continue; otherwise the first one is raised.
    """

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._found: dict[str, None] = {}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """A fault of the input inside does not stop what follows.

        Raises:
            InputError: faults are not kept, and there is one.
        """
        try:
            yield
        except InputError as error:
            if not self._keep:
                raise
            self._found[str(error)] = None

    @property
    def lines(self) -> list[str]:
        """What each says, in the order in which they were found."""
        return list(self._found)
