"""The places at which RoIAlign samples a map, independent of how the samples are summed.

Shapes: R RoIs; S cells of a pooled side; N samples on an axis of a bin.
"""

from __future__ import annotations

import torch
from torch import Tensor


def placed(corners: Tensor, scale: float, aligned: bool) -> tuple[Tensor, Tensor]:
    """Where RoIs begin and how long they are on each axis, (R, 2) and (R, 2) x and y in cells; a place of 0 is the
    first cell's centre.

    Args:
        corners: (R, 4) xyxy in pixels. aligned: whether a cell's centre lies half a cell from its corner. If not, it
            lies on the corner, and no RoI is shorter than a cell.
    """
    cells = corners * scale
    if aligned:
        cells = cells - 0.5
    start, end = cells[:, :2], cells[:, 2:]
    return start, end - start if aligned else (end - start).clamp(min=1)


def sample_places(start: Tensor, length: Tensor, size: int, samples: int) -> tuple[Tensor, Tensor]:
    """Places (R, S, N) of the samples of each bin along an axis, and how many of the N each RoI has, (R,) int64.

    Args:
        start, length: (R,) of the RoIs, in cells. samples: N, or 0 for one per cell of the bin, rounded up.
    """
    if samples:
        counts = torch.full_like(start, samples, dtype=torch.int64)
    else:
        counts = torch.ceil(length / size).clamp(min=0).long()
    most = max(int(counts.max()), 1)
    own = torch.arange(most, dtype=start.dtype, device=start.device) + 0.5
    bins = torch.arange(size, dtype=start.dtype, device=start.device)
    inside = own / counts.clamp(min=1)[:, None]
    steps = (bins[:, None] + inside[:, None, :]) / size
    return start[:, None, None] + length[:, None, None] * steps, counts
