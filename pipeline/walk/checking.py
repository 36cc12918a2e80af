"""What is computed twice must agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def same(name: str, by_hand: Sequence[float], compiled: Sequence[float], tolerance: float = 1e-5) -> int:
    """How many numbers were compared.

    Raises:
        RuntimeError: a number differs by more than the tolerance, absolute or relative.
    """
    own, other = np.asarray(by_hand, np.float64), np.asarray(compiled, np.float64)
    if own.shape != other.shape or not np.allclose(own, other, rtol=tolerance, atol=tolerance):
        raise RuntimeError(f"{name}: {own.tolist()[:8]} by hand, {other.tolist()[:8]} by the detector's own code")
    return own.size
