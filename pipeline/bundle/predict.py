"""Detections in many photos, as files: detections.json in COCO's format and a drawing of each photo.

One photo is held at a time. An unreadable one is reported and counted, and the rest are read.
"""

from __future__ import annotations

import functools
import glob
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.artifacts.atomic import atomic_file
from pipeline.bundle.detector import Detections, Detector, Pixels
from pipeline.datasets.file_names import is_junk, junk_remark, printable, shortened_name
from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import READ, is_image_name
from pipeline.datasets.images import read_rgb
from pipeline.datasets.records import one_line
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import Progress
from pipeline.views.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION, YELLOW, BoxLayer, draw_boxes

LONGEST_DRAWING = 1600
"""Pixels; a drawing has its photo's size up to this longer side."""

_COLOURS = (VERMILLION, SKY_BLUE, GREEN, ORANGE, PURPLE, YELLOW, BLUE)


@dataclass
class PhotoCounts:
    """How many photos were detected in, how many detections that made, and how many photos could not be read."""

    photos: int = 0
    detections: int = 0
    failed: int = 0


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

    Folders are taken with all below them, linked folders included, but for the drawings in `out`, which are no photos
    to detect in.

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


def predict(detector: Detector, photos: Sequence[Path], out: Path, score: float, drawings: bool) -> PhotoCounts:
    """Write the detections of at least `score` in the photos to `out`/detections.json, and `out`/drawn/NAME.jpg.

    Raises:
        InputError: `out` cannot be written.
    """
    counts = PhotoCounts()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "drawn").mkdir(exist_ok=True) if drawings else None
        names = _Names()
        with (
            atomic_file(out / "detections.json") as temporary,
            open(temporary, "w", encoding="utf-8") as file,
            tempfile.TemporaryFile("w+", encoding="utf-8") as annotations,
            Progress("predict", len(photos), "photos") as progress,
        ):
            results = _Results(file, annotations, detector.classes)
            for path in photos:
                try:
                    size, found, drawing = _look_at(path, detector, score, drawings)
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
                progress.advance()
            results.finish()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return counts


def warn(message: str) -> None:
    """Tell of one photo or folder that is left out."""
    tqdm.write(f"frcnn: warning: {printable(message)}", file=sys.stderr)


def _look_at(path: Path, detector: Detector, score: float, drawings: bool) -> tuple[tuple[int, int], Detections, bytes]:
    """(height, width) of the photo, what is found in it, and the drawing as a JPEG, empty without `drawings`."""
    pixels = read_rgb(path)
    found = detector(pixels).above(score)
    drawing = b""
    if drawings:
        encoded = cv2.imencode(".jpg", draw(pixels, found)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        drawing = encoded.tobytes()
    return (pixels.shape[0], pixels.shape[1]), found, drawing


def _failure(path: Path, error: Exception) -> str:
    return f"{path}: nothing could be detected in it ({type(error).__name__}: {one_line(error)}); it is left out"


def draw(pixels: Pixels, found: Detections) -> Pixels:
    """(H, W, 3) uint8 RGB and its detections to a drawing, of the photo's size up to `LONGEST_DRAWING`."""
    layers = []
    for label in np.unique(found.labels):
        rows = np.flatnonzero(found.labels == label)
        texts = [f"{found.names[row]} {found.scores[row]:.2f}" for row in rows]
        layers.append(BoxLayer(found.boxes[rows], _COLOURS[(label - 1) % len(_COLOURS)], texts))
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


class _Results:
    """detections.json, written as the photos come; annotations wait in a file of their own until the images end."""

    def __init__(self, file: IO[str], annotations: IO[str], classes: Sequence[str]) -> None:
        self._file, self._annotations = file, annotations
        self._images = self._boxes = 0
        categories = [{"id": label, "name": name} for label, name in enumerate(classes) if label > 0]
        file.write('{"categories": ' + json.dumps(categories) + ',\n"images": [')

    def add(self, path: Path, size: tuple[int, int], found: Detections) -> None:
        height, width = size
        self._images += 1
        image = {"id": self._images, "file_name": path.as_posix(), "width": width, "height": height}
        self._file.write((",\n" if self._images > 1 else "\n") + json.dumps(image))
        for box, label, score in zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True):
            self._boxes += 1
            sides = box[2] - box[0], box[3] - box[1]
            annotation: dict[str, Any] = {
                "id": self._boxes,
                "image_id": self._images,
                "category_id": label,
                "bbox": [round(value, 3) for value in (*box[:2], *sides)],
                "area": round(sides[0] * sides[1], 3),
                "iscrowd": 0,
                "score": round(score, 6),
            }
            self._annotations.write((",\n" if self._boxes > 1 else "\n") + json.dumps(annotation))

    def finish(self) -> None:
        self._file.write('],\n"annotations": [')
        self._annotations.seek(0)
        for line in self._annotations:
            self._file.write(line)
        self._file.write("]}\n")
