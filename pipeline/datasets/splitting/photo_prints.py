"""Nearly equal photos: a picture saved in another size, at another quality, a little brighter, or some pixels on in a
video.

Each photo becomes a print of 16 x 16 gray values, less their mean and divided by their length; photos are nearly equal
where the product of their prints is `ALIKE` or more. Prints are rounded to 1/4000 and kept as whole numbers, whose
products float32 adds exactly, in whatever order a processor adds. Measured on VOC, COCO and BCCD, photos of different
things stay below .91 and a copy at JPEG quality 30, of a quarter of the size or 20 % brighter is above .97.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.datasets.decoder_lines import without_decoder_lines
from pipeline.datasets.images import MAX_PIXELS, probe, read_rgb
from pipeline.runtime.errors import InputError

ALIKE = 0.95
_LENGTH = 4000  # of a print; the product of two stays below 2^24, up to which float32 holds whole numbers
_SIDE = 16
_FLATTEST = 2.0  # deviation of the gray values of 0 to 255: flatter photos are not compared
_BLOCK = 1 << 24  # products at once, of 4 bytes
_REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}
Print = npt.NDArray[np.float32]


def print_of(path: Path) -> Print | None:
    """(256,) float32 whole numbers, of a length of about 4000; None of a photo that cannot be read or of one colour."""
    try:
        gray = _gray(path)
    except InputError:
        return None
    if gray is None:
        return None
    found = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int64).ravel()
    found = found.size * found - found.sum()  # less the mean, in whole numbers
    length = math.sqrt(int((found * found).sum()))
    if length < found.size * _FLATTEST * _SIDE:
        return None
    return np.rint(found * (_LENGTH / length)).astype(np.float32)


def nearly_equal(prints: Sequence[Print]) -> list[list[int]]:
    """Ascending indices of prints that are alike, by way of others too; a print that is like no other is in none."""
    if not prints:
        return []
    together = np.stack(prints)
    first = np.arange(len(together))  # of the group of each print, as far as it is known
    step = max(1, _BLOCK // len(together))
    for start in range(0, len(together), step):
        alike = together[start : start + step] @ together[start:].T >= ALIKE * _LENGTH**2
        for row in np.flatnonzero(alike.sum(axis=1) > 1):
            groups = np.unique(first[start + np.flatnonzero(alike[row])])
            if len(groups) > 1:
                first[np.isin(first, groups)] = groups[0]
    order = np.argsort(first, kind="stable")
    ends = np.flatnonzero(np.diff(first[order])) + 1
    return [own.tolist() for own in np.split(order, ends) if len(own) > 1]


def _gray(path: Path) -> npt.NDArray[np.uint8] | None:
    """Gray values, of a JPEG at half to an eighth of its size, which is several times faster to decode."""
    header = probe(path)
    shorter = min(header.width, header.height)
    flag = next((flag for factor, flag in _REDUCED.items() if shorter >= factor * 4 * _SIDE), None)
    if header.format != "jpeg" or flag is None or header.width * header.height > MAX_PIXELS:
        return cv2.cvtColor(read_rgb(path), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    try:
        with without_decoder_lines():
            found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flag)
    except (cv2.error, MemoryError, OSError):
        return None
    return None if found is None else found.astype(np.uint8, copy=False)
