"""What the loop asks of one iteration's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.feeding.views import Views


class Batch(Protocol):
    """One iteration's input: a dataclass of tensors, which is brought to the device whole."""

    @property
    def views(self) -> Views:
        """The images, or what stands in their place."""

    @property
    def seeds(self) -> list[int]:
        """For what is drawn inside the step."""

    def for_step(self) -> Batch:
        """Without what the step does not need."""
