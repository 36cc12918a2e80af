"""What a stage leaves that is to keep no maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.maps import MapWriter

if TYPE_CHECKING:
    from pipeline.runtime.stage import Stage


def keep_no_maps(stage: Stage, parameter: str) -> None:
    """Leave an index without rows.

    Args:
        parameter: which says so.
    """
    with ChunkedWork(stage.out, [], stage.log) as work:
        MapWriter(work, "maps")
    stage.log(f"keeps no maps ({parameter})")
