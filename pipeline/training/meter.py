"""Losses that stay on the device until a row of the history is written, so that a GPU never waits to be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

Row = dict[str, float]

COLUMNS = ("iteration", "lr", "loss")
"""What a row of the history begins with; no loss may have such a name."""


class NotFiniteError(Exception):
    """At `iteration` the loss, or the gradient of a finite loss, was not finite; `parts` are the losses by name."""

    def __init__(self, what: str, iteration: int, parts: Row) -> None:
        self.iteration, self.parts = iteration, parts
        super().__init__(f"{what} is not finite at iteration {iteration}")


@dataclass
class Meter:
    """Sums named losses until a row is written, and finds the first that is not finite.

    Attributes:
        skip: (), 1 from the first bad iteration on, else 0: what a fused optimiser passes over its steps by. What comes
            after a bad loss leaves the weights as they were before it.
        sums, count: of what was read since the last row.
    """

    skip: Tensor
    sums: Row = field(default_factory=dict)
    count: int = 0
    _names: list[str] = field(default_factory=list)
    _waiting: list[tuple[int, Tensor]] = field(default_factory=list)

    def add(self, iteration: int, losses: dict[str, Tensor], total: Tensor, norm: Tensor | None) -> None:
        """Note the losses of an iteration, each a scalar, their sum, and the norm of all gradients if it is known."""
        checked = [total.detach()] if norm is None else [total.detach(), norm]
        values = torch.stack([*(loss.detach() for loss in losses.values()), *checked])
        self.skip.masked_fill_(~torch.isfinite(values[len(losses) :]).all(), 1.0)
        self._names = list(losses)
        self._waiting.append((iteration, values))

    def read(self) -> None:
        """Copy the losses that are still on the device, in one transfer.

        Raises:
            NotFiniteError: one of them is not finite.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        count = len(self._names)
        for (iteration, _), values in zip(
            waiting, torch.stack([values for _, values in waiting]).tolist(), strict=True
        ):
            parts = dict(zip(self._names, values[:count], strict=True))
            for what, value in zip(("loss", "gradient"), values[count:], strict=False):
                if not math.isfinite(value):
                    raise NotFiniteError(what, iteration, parts)
            for name, value in parts.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += 1

    def take(self) -> Row:
        """The means since the last row."""
        row = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return row
