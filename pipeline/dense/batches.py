"""One iteration's input, and its loader: images with the targets stored for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.runtime.seeding import derive_seed

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry
    from pipeline.dense.targets import BatchTargets, TargetSource
    from pipeline.feeding.views import Views, ViewSource


@dataclass(frozen=True)
class DenseBatch:
    """One iteration's images and their targets.

    `seeds` has one, of what is drawn inside the step.
    """

    views: Views
    targets: BatchTargets
    seeds: list[int]

    def for_step(self) -> DenseBatch:
        """The step needs all of it."""
        return self


class DenseLoader:
    """Makes the batch of iteration n, independent of earlier ones.

    Args:
        order: iteration to (epoch, entries), see `EpochOrder`.
        seed, stage: of the run; part of every seed.
    """

    def __init__(
        self,
        order: Callable[[int], tuple[int, list[Entry]]],
        source: ViewSource,
        targets: TargetSource,
        seed: int,
        stage: str,
    ) -> None:
        self._order, self._source, self._targets = order, source, targets
        self._seed, self._stage = seed, stage

    def __call__(self, iteration: int) -> DenseBatch:
        """The batch of an iteration."""
        _, entries = self._order(iteration)
        views = self._source.load(entries)
        seed = batch_seed(self._seed, self._stage, iteration)
        return DenseBatch(views, self._targets.of(entries, views.sizes), [seed])


def batch_seed(seed: int, stage: str, iteration: int) -> int:
    """Of what is drawn inside the step of an iteration."""
    return derive_seed(seed, stage, "batch", iteration)
