"""What one of several processes does of a stage's chunks of images; see `pipeline.runtime.processes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.runtime.turns import Turns


@dataclass
class Share:
    """Which chunks a process looks at first, to see whether an earlier run has completed them: every `of`-th from
    number `number` on, by default all. It does the chunks that are left, or offers them to all through `turns`.

    Attributes:
        turns: where all processes put and take the numbers of what is left; None: each does its own.
        at: the number of the chunk at hand, -1 before the first.
        by_others: waits for the processes that do all chunks in place of this one, and returns the numbers of those
            that are complete then; None: there are no such processes.
    """

    number: int = 0
    of: int = 1
    turns: Turns | None = None
    at: int = -1
    by_others: Callable[[], set[int]] | None = None

    @property
    def is_part(self) -> bool:
        """Whether other processes have the rest."""
        return self.of > 1


class ShareDone(BaseException):
    """A process has done its share, and leaves the stage: what follows, another does for all.

    Attributes:
        complete: the numbers of its chunks.
    """

    def __init__(self, complete: set[int]) -> None:
        super().__init__("the share is done")
        self.complete = complete
