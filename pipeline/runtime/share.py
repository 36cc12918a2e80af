"""What one of several processes does of a stage's chunks of images; see `pipeline.runtime.processes`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Share:
    """Every `of`-th chunk from number `number` on; by default all.

    Attributes:
        finished: numbers of chunks known to be complete, whose files need not be read again.
        at: the number of the chunk at hand, -1 before the first.
    """

    number: int = 0
    of: int = 1
    finished: set[int] = field(default_factory=set)
    at: int = -1

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
