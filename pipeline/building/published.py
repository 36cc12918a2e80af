"""Reads any of torchvision's trained detectors, with its weights renamed to ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.building import torchvision_dense, torchvision_detector, torchvision_ssd
from pipeline.building.needs import Needs
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.artifacts.weights import State

_KINDS = (torchvision_detector, torchvision_dense, torchvision_ssd)
"""Each knows the names of some: a new one is a module with these four functions."""


@dataclass(frozen=True)
class Published:
    """Attributes:
    state: its weights under our names. needs: what params.yaml must say for them.
    rows: C, the classes that it was trained on and the background.
    """

    state: State
    needs: Needs
    rows: int


def published_detector(state: Mapping[str, Tensor], source: str) -> Published | None:
    """A torchvision detector's state dict with our names; None if it is not one.

    Raises:
        InputError: it is theirs, and not whole, or has weights that have no place, or of shapes that do not fit.
    """
    for kind in _KINDS:
        if kind.is_torchvisions(state):
            try:
                ours = kind.from_torchvision(state, source)
                return Published(ours, kind.needs_of(ours), kind.class_count(ours))
            except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
                why = str(error).partition("\n")[0]
                raise InputError(
                    f"{source}: its weights have shapes that no detector of torchvision's has ({why}); give the file "
                    "of a whole one"
                ) from error
    return None
