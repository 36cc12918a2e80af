"""Detections in many photos, as files: in the format of a tool, and a drawing of each photo.

One photo is held at a time. An unreadable one is reported and counted, and the rest are read.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.artifacts.atomic import atomic_file
from pipeline.bundle.detector import Detections, Detector, Pixels
from pipeline.bundle.prediction_files import writer_of
from pipeline.datasets.file_names import is_junk, junk_remark, printable, shortened_name
from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import READ, is_image_name
from pipeline.datasets.images import read_rgb
from pipeline.datasets.records import one_line
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import Progress
from pipeline.views.colours import class_colour
from pipeline.views.drawing import BoxLayer, draw_boxes

LONGEST_DRAWING = 1600
"""Pixels; a drawing has its photo's size up to this longer side."""


@dataclass
class PhotoCounts:
    """The numbers of processed photos, of their detections, and of photos that could not be read.

    `highest` is the highest score of any box, also of those below the asked score; None if there are none.
    """

    photos: int = 0
    detections: int = 0
    failed: int = 0
    highest: float | None = field(default=None, compare=False)

    def nothing_found(self) -> str:
        """What to add where no detection reaches the asked score; empty otherwise."""
        if self.detections or not self.photos:
            return ""
        if self.highest is None:
            return "; no box has a score that the bundle keeps (detect.score_threshold)"
        return f"; the highest score is {self.highest:.4f}, give a lower --score to see more"


@dataclass(frozen=True)
class Album:
    """What paths name.

    Attributes:
        photos: each once.
        junk: what was passed over because systems leave it.
        unreadable: folders that cannot be listed, and why.
    """

    photos: list[Path]
    junk: list[str]
    unreadable: list[tuple[str, str]]


def find_photos(paths: Sequence[str], out: Path) -> Album:
    """The photos that files, folders and globs name, each once: in the order given, those of a folder or glob sorted.

    Folders are searched with everything below them, linked folders included, except for the drawings in `out`.

    Raises:
        InputError: a path names nothing, or there is no photo.
    """
    found: dict[tuple[str, str], Path] = {}
    real = functools.cache(os.path.realpath)
    album = Album([], [], [])
    for text in paths:
        for one in _named(text):
            if _is_left_by_a_system(one, text):
                album.junk.append(str(one))
                continue
            for photo in _below(one, out, album) if os.path.isdir(one) else [one]:
                found.setdefault((real(photo.parent), photo.name), photo)
    if not found:
        why = [f"{folder} cannot be read ({reason})" for folder, reason in album.unreadable] + junk_remark(album.junk)
        also = f"; {why[0]}" if why else ""
        raise InputError(f"{', '.join(paths)[:200]}: no photos there ({' '.join(READ)}){also}; name photos")
    album.photos.extend(found.values())
    return album


def _named(text: str) -> list[Path]:
    """The file or folder of this name, or what the glob matches."""
    path = os.path.expanduser(text)
    if os.path.lexists(path):
        return [Path(path)]
    matches: dict[tuple[str, str], str] = {}
    for match in sorted(glob.glob(path, recursive=True), key=lambda match: (match.count("/"), match)):
        folder, name = os.path.split(match.rstrip("/"))
        matches.setdefault((os.path.realpath(folder), name), match)  # ** goes round in a linked circle
    if not matches:
        raise InputError(f"{text}: no such file or folder, and no glob that matches one; name photos")
    return [Path(match) for match in sorted(matches.values())]


def _is_left_by_a_system(path: Path, text: str) -> bool:
    given = Path(os.path.expanduser(text)).parts[:-1]  # a folder that someone names is meant
    return any(is_junk(part) for part in path.parts if part not in given)


def predict(
    detector: Detector, photos: Sequence[Path], out: Path, score: float, drawings: bool, form: str = "coco"
) -> PhotoCounts:
    """Write the detections of at least `score` in the photos below `out`, in the format `form`, and
    `out`/drawn/NAME.jpg.

    Raises:
        InputError: there is no such format, or `out` cannot be written.
    """
    opened = writer_of(form)
    counts = PhotoCounts()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "drawn").mkdir(exist_ok=True) if drawings else None
        names = _Names()
        with (
            opened(out, detector.classes, photos) as results,
            Progress("predict", len(photos), "photos") as progress,
        ):
            for path in photos:
                try:
                    size, found, highest, drawing = _look_at(path, detector, score, drawings)
                except Exception as error:  # whatever is wrong with one photo, the others are still read
                    warn(str(error) if isinstance(error, InputError) else _failure(path, error))
                    counts.failed += 1
                else:
                    results.add(path, size, found)
                    if drawings:
                        with atomic_file(out / "drawn" / names.of(path)) as drawn:
                            drawn.write_bytes(drawing)
                    counts.photos += 1
                    counts.detections += len(found)
                    counts.highest = max((own for own in (counts.highest, highest) if own is not None), default=None)
                progress.advance()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return counts


def warn(message: str) -> None:
    """Warn that a photo or folder is left out."""
    tqdm.write(f"frcnn: warning: {printable(message)}", file=sys.stderr)


def _look_at(
    path: Path, detector: Detector, score: float, drawings: bool
) -> tuple[tuple[int, int], Detections, float | None, bytes]:
    """(height, width) of the photo, what is found in it, the highest score of any box, and the drawing as a JPEG, empty
    without `drawings`."""
    pixels = read_rgb(path)
    boxes = detector(pixels)
    highest, found = (float(boxes.scores.max()) if len(boxes) else None), boxes.above(score)
    drawing = b""
    if drawings:
        encoded = cv2.imencode(".jpg", draw(pixels, found)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        drawing = encoded.tobytes()
    return (pixels.shape[0], pixels.shape[1]), found, highest, drawing


def _failure(path: Path, error: Exception) -> str:
    return f"{path}: nothing could be detected in it ({type(error).__name__}: {one_line(error)}); it is left out"


def draw(pixels: Pixels, found: Detections) -> Pixels:
    """(H, W, 3) uint8 RGB and its detections to a drawing, of the photo's size up to `LONGEST_DRAWING`."""
    layers = []
    for label in np.unique(found.labels):
        rows = np.flatnonzero(found.labels == label)
        texts = [f"{found.names[row]} {found.scores[row]:.2f}" for row in rows]
        layers.append(BoxLayer(found.boxes[rows], class_colour(int(label)), texts))
    return draw_boxes(pixels, layers, min(max(pixels.shape[:2]), LONGEST_DRAWING)).astype(np.uint8, copy=False)


def _below(folder: Path, out: Path, album: Album) -> Iterator[Path]:
    own = os.path.realpath(out / "drawn")
    below = look_below(folder)
    album.junk.extend(below.junk)
    album.unreadable.extend(below.unreadable)
    for path in map(Path, below.files):
        if is_image_name(path.name) and own != os.path.realpath(path.parent):
            yield path


@dataclass
class _Names:
    """Names of drawings: the photo's, numbered from the second of a name on; a long one is cut and ends in its hash."""

    taken: set[str] = field(default_factory=set)

    def of(self, photo: Path) -> str:
        stem = shortened_name(photo.stem)
        name, number = stem, 1
        while name in self.taken:
            number += 1
            name = f"{stem}-{number}"
        self.taken.add(name)
        return f"{name}.jpg"
