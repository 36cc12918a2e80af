"""What the loop requires of one iteration's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.feeding.views import Views


class Batch(Protocol):
    """One iteration's input: a dataclass of tensors, which is brought to the device whole."""

    @property
    def views(self) -> Views:
        """The images, or maps instead."""

    @property
    def seeds(self) -> list[int]:
        """Seeds for random draws inside the step."""

    def for_step(self) -> Batch:
        """The batch without what the step does not need."""
