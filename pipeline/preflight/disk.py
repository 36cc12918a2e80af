"""What stages will write that grows with the images, by `frcnn check-data`: pixels and maps. The rest is small beside
these."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.params.reading import Params
from pipeline.preflight.collecting import Checked
from pipeline.views.inspect.text import size_text

if TYPE_CHECKING:
    from pipeline.preflight.family_checks import MapsOfView

MEMBER_BYTES = 264
"""Of a member of an npz shard beside its values: the zip's two headers and the array's own, and half a name."""


def stored_bytes(checked: Checked, params: Params, maps: Mapping[str, MapsOfView]) -> dict[str, int]:
    """Bytes of what each stage stores of the images, by its name; of those that store any.

    Args:
        maps: as `FamilyChecks.maps` has them.
    """
    sizes = Counter[tuple[int, int]]()
    pixels = 0
    for (split, height, width), count in checked.sizes.items():
        pixels += count * (3 * height * width + MEMBER_BYTES)
        if split == "train":
            sizes[height, width] += count
    for (_, height, width), count in checked.extra_sizes.items():
        pixels += count * (3 * height * width + MEMBER_BYTES)
        sizes[height, width] += count
    views = 2 if params.base.mirror else 1
    found = {"resize": pixels} if params.resize.keep == "pixels" else {}
    for stage, of_view in maps.items():
        found[stage] = views * sum(count * of_view(*size) for size, count in sizes.items())
    return {stage: size for stage, size in found.items() if size}


def disk_lines(root: Path, stored: Mapping[str, int]) -> Iterator[str]:
    """Its line in a report.

    Args:
        root: the folder that data/ lies in, to compare with what is free there.
    """
    if not stored:
        return
    yield from ("", "disk, for pixels and maps alone; twice as much where DVC's cache copies what it keeps")
    width = max(map(len, stored))
    for stage, size in stored.items():
        yield f"  {stage:<{width}}  {size_text(size)}"
    total, free = sum(stored.values()), shutil.disk_usage(root).free
    if total > free:
        yield f"  {size_text(total)} in all, and {size_text(free)} are free here: {_ADVICE}"


_ADVICE = "make room, set a smaller resize.shorter_side, or store less (docs/scaling.md)"
