"""A trained detector as one folder, and its use: `from pipeline.bundle import Detector`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.bundle.detector import Detections, Detector

__all__ = ["Detections", "Detector"]


def __getattr__(name: str) -> Any:
    # Asking for the detector loads torch; the command line does not.
    if name in __all__:
        from pipeline.bundle import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
