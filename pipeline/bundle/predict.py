"""Detections in many photos, as files: detections.json in COCO's format and a drawing of each photo.

One photo is held at a time. An unreadable one is told and counted, and the rest go on.
"""

from __future__ import annotations

import glob
import json
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
from pipeline.datasets.image_suffixes import READ, is_image_name
from pipeline.datasets.images import read_rgb
from pipeline.errors import InputError
from pipeline.progress import Progress
from pipeline.views.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION, YELLOW, BoxLayer, draw_boxes

"""What is taken from a folder; a file named by itself may have any name."""

LONGEST_DRAWING = 1600
"""Pixels; a drawing has its photo's size up to this longer side."""

_COLOURS = (VERMILLION, SKY_BLUE, GREEN, ORANGE, PURPLE, YELLOW, BLUE)


@dataclass
class Outcome:
    """How many photos were detected in, how many detections that made, and how many photos could not be read."""

    photos: int = 0
    detections: int = 0
    failed: int = 0


def find_photos(paths: Sequence[str], out: Path) -> list[Path]:
    """The photos that files, folders and globs name, each once: in the order given, those of a folder or glob sorted.

    Folders are taken with all below them, but for the drawings in `out`, which are no photos to detect in.

    Raises:
        InputError: a path names nothing, or there is no photo.
    """
    found: dict[Path, None] = {}
    for text in paths:
        path = Path(text).expanduser()
        if path.exists():
            named = [path]
        else:
            named = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            if not named:
                raise InputError(f"{text}: no such file or folder, and no glob that matches one; name photos")
        for one in named:
            found.update(dict.fromkeys(_below(one, out) if one.is_dir() else [one]))
    if not found:
        raise InputError(f"{', '.join(paths)[:200]}: no photos there ({' '.join(READ)}); name photos")
    return list(found)


def predict(detector: Detector, photos: Sequence[Path], out: Path, score: float, drawings: bool) -> Outcome:
    """Write the detections of at least `score` in the photos to `out`/detections.json, and `out`/drawn/NAME.jpg.

    Raises:
        InputError: `out` cannot be written.
    """
    outcome = Outcome()
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
                    pixels = read_rgb(path)
                except InputError as error:
                    tqdm.write(f"frcnn: warning: {error}", file=sys.stderr)
                    outcome.failed += 1
                else:
                    found = detector(pixels).above(score)
                    results.add(path, pixels, found)
                    if drawings:
                        _write_drawing(out / "drawn" / names.of(path), pixels, found)
                    outcome.photos += 1
                    outcome.detections += len(found)
                progress.advance()
            results.finish()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from error
    return outcome


def draw(pixels: Pixels, found: Detections) -> Pixels:
    """(H, W, 3) uint8 RGB and its detections to a drawing, of the photo's size up to `LONGEST_DRAWING`."""
    layers = []
    for label in np.unique(found.labels):
        rows = np.flatnonzero(found.labels == label)
        texts = [f"{found.names[row]} {found.scores[row]:.2f}" for row in rows]
        layers.append(BoxLayer(found.boxes[rows], _COLOURS[(label - 1) % len(_COLOURS)], texts))
    return draw_boxes(pixels, layers, min(max(pixels.shape[:2]), LONGEST_DRAWING)).astype(np.uint8, copy=False)


def _below(folder: Path, out: Path) -> Iterator[Path]:
    own = (out / "drawn").resolve()
    for path in sorted(folder.rglob("*")):
        if is_image_name(path.name) and path.is_file() and own not in path.resolve().parents:
            yield path


@dataclass
class _Names:
    """Names of drawings: the photo's, numbered from the second of a name on."""

    taken: set[str] = field(default_factory=set)

    def of(self, photo: Path) -> str:
        name, number = photo.stem, 1
        while name in self.taken:
            number += 1
            name = f"{photo.stem}-{number}"
        self.taken.add(name)
        return f"{name}.jpg"


class _Results:
    """detections.json, written as the photos come; annotations wait in a file of their own until the images end."""

    def __init__(self, file: IO[str], annotations: IO[str], classes: Sequence[str]) -> None:
        self._file, self._annotations = file, annotations
        self._images = self._boxes = 0
        categories = [{"id": label, "name": name} for label, name in enumerate(classes) if label > 0]
        file.write('{"categories": ' + json.dumps(categories) + ',\n"images": [')

    def add(self, path: Path, pixels: Pixels, found: Detections) -> None:
        height, width = pixels.shape[:2]
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


def _write_drawing(path: Path, pixels: Pixels, found: Detections) -> None:
    encoded = cv2.imencode(".jpg", draw(pixels, found)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    with atomic_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
