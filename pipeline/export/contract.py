"""How a family exports its networks: `FORMATS` in its part `export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pipeline.families.registry import declared, family_of
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.bundle.file import Bundle


@dataclass(frozen=True)
class Format:
    """A format of `frcnn export`.

    Attributes:
        suffix: of its files.
        write: a bundle's network to a file in a folder that exists; lines on what was done. It raises `InputError` for
            a network that the format cannot express, before anything is written.
        rebuild: from the settings in the header of such a file, its tensors and its path to a network of the other
            library, in evaluation mode; None where this project does not read the format again.
    """

    suffix: str
    write: Callable[[Bundle, Path], list[str]]
    rebuild: Callable[[str, Mapping[str, Tensor], Path], nn.Module] | None = None


def formats_of(family: str) -> Mapping[str, Format]:
    """A family's formats by name.

    Raises:
        InputError: there is no such family, or none of its networks can be exported.
    """
    formats: Mapping[str, Format] | None = declared(family, "export", "FORMATS")
    if formats is None:
        raise InputError(
            f"{family_of(family).title}: has no format to export to; use the bundle itself with "
            f"pipeline.bundle.Detector or frcnn predict, or write pipeline/families/{family}/export.py, see "
            "docs/families.md"
        )
    return formats
