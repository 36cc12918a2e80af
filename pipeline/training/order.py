"""Which images make up which iteration: a pure function of the run seed, the stage and the iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.feeding.enough import check_enough
from pipeline.runtime.seeding import numpy_generator

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry


class EpochOrder:
    """Shuffles the entries in each epoch, and groups landscape with landscape and portrait with portrait.

    Grouping keeps padding small. What is left over at the end of an epoch forms mixed batches; less than a batch of
    entries waits for another epoch.

    Args:
        entries: images and mirrors to train on. landscape: for each, whether it is at least as wide as high.
        batch: images per iteration.
        seed, stage: of the run; part of every epoch's seed.
    """

    def __init__(self, entries: Sequence[Entry], landscape: Sequence[bool], batch: int, seed: int, stage: str) -> None:
        check_enough(len(entries), batch, stage)
        self._entries, self._landscape, self._batch = list(entries), list(landscape), batch
        self._seed, self._stage = seed, stage
        self._epoch, self._plan = -1, [[0]]

    @property
    def batches_per_epoch(self) -> int:
        """Iterations in one pass over the data."""
        return len(self._entries) // self._batch

    def __call__(self, iteration: int) -> tuple[int, list[Entry]]:
        """The epoch and the entries of an iteration, both counted from 0."""
        epoch, position = divmod(iteration, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._plan = epoch, self._plan_epoch(epoch)
        return epoch, [self._entries[i] for i in self._plan[position]]

    def _plan_epoch(self, epoch: int) -> list[list[int]]:
        shuffled = numpy_generator(self._seed, self._stage, "order", epoch).permutation(len(self._entries)).tolist()
        waiting: dict[bool, list[int]] = {True: [], False: []}
        plan = []
        for index in shuffled:
            queue = waiting[self._landscape[index]]
            queue.append(index)
            if len(queue) == self._batch:
                plan.append(queue.copy())
                queue.clear()
        rest = waiting[True] + waiting[False]
        plan += [rest[i : i + self._batch] for i in range(0, len(rest) - self._batch + 1, self._batch)]
        return plan
