"""Predictions as files that tools and readers of data sets take: COCO, YOLO, VOC, Label Studio.

Only COCO and Label Studio have a place for scores. All boxes are those of the detector: VOC's are written with
decimals, which its readers take as numbers like any other.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pipeline.artifacts.atomic import atomic_file, write_text
from pipeline.bundle.detector import Detections
from pipeline.runtime.errors import InputError


class PredictionFile(Protocol):
    """Takes the detections of one photo after the other."""

    def add(self, photo: Path, size: tuple[int, int], found: Detections) -> None:
        """Write the detections of a photo of `size` (height, width) px."""


def writer_of(form: str) -> Callable[[Path, Sequence[str], Sequence[Path]], AbstractContextManager[PredictionFile]]:
    """Opens the files of a format: folder, classes with the background first, all photos -> a writer.

    Raises:
        InputError: there is no such format.
    """
    if form not in _WRITERS:
        raise InputError(f"--format {form}: no such format; there are {', '.join(_WRITERS)}")
    return _WRITERS[form]


@contextmanager
def _coco(out: Path, classes: Sequence[str], photos: Sequence[Path]) -> Iterator[PredictionFile]:
    """detections.json."""
    with (
        atomic_file(out / "detections.json") as temporary,
        open(temporary, "w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8") as annotations,
    ):
        results = _Coco(file, annotations, classes)
        yield results
        results.finish()


class _Coco:
    """detections.json, written as the photos come; annotations wait in a file of their own until the images end."""

    def __init__(self, file: IO[str], annotations: IO[str], classes: Sequence[str]) -> None:
        self._file, self._annotations = file, annotations
        self._images = self._boxes = 0
        categories = [{"id": label, "name": name} for label, name in enumerate(classes) if label > 0]
        file.write('{"categories": ' + json.dumps(categories) + ',\n"images": [')

    def add(self, photo: Path, size: tuple[int, int], found: Detections) -> None:
        height, width = size
        self._images += 1
        image = {"id": self._images, "file_name": photo.as_posix(), "width": width, "height": height}
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


class _Places:
    """A name of each photo's file, without suffix: its path below the folder that holds all photos.

    Args:
        flat: `_` in place of `/`, for formats without folders.

    Raises:
        InputError: two photos would have one name, as those that differ in their suffixes alone.
    """

    def __init__(self, photos: Sequence[Path], flat: bool = False) -> None:
        above = os.path.commonpath([os.path.abspath(photo.parent) for photo in photos]) if photos else ""
        paths = {photo: Path(os.path.relpath(os.path.abspath(photo), above)).with_suffix("") for photo in photos}
        self._names = {photo: "_".join(path.parts) if flat else path.as_posix() for photo, path in paths.items()}
        first: dict[str, Path] = {}
        for photo, name in self._names.items():
            if first.setdefault(name, photo) != photo:
                raise InputError(f"{first[name]} and {photo} would both be {name} in this format; rename one")

    def of(self, photo: Path) -> str:
        """The name of one of the photos."""
        return self._names[photo]


def _check_free(*paths: Path) -> None:
    """Existing labels may be a person's, or belong to photos that are no longer given."""
    for path in paths:
        if path.exists():
            raise InputError(f"{path}: already exists and is not overwritten; give --out another folder")


@contextmanager
def _yolo(out: Path, classes: Sequence[str], photos: Sequence[Path]) -> Iterator[PredictionFile]:
    """labels/PHOTO.txt and data.yaml with the names of the classes."""
    _check_free(out / "labels", out / "data.yaml")
    names = "".join(f"  {label}: {json.dumps(name, ensure_ascii=False)}\n" for label, name in enumerate(classes[1:]))
    yield _Yolo(out / "labels", _Places(photos))
    write_text(out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")


class _Yolo:
    def __init__(self, folder: Path, places: _Places) -> None:
        self._folder, self._places = folder, places

    def add(self, photo: Path, size: tuple[int, int], found: Detections) -> None:
        height, width = size
        lines = []
        for (x1, y1, x2, y2), label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
            centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{label - 1} " + " ".join(f"{value:.8f}" for value in centre) + "\n")
        path = self._folder / f"{self._places.of(photo)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(lines))


@contextmanager
def _voc(out: Path, classes: Sequence[str], photos: Sequence[Path]) -> Iterator[PredictionFile]:
    """Annotations/PHOTO.xml, or FOLDER_PHOTO.xml for a photo in a folder, since VOC has no folders."""
    _check_free(out / "Annotations")
    yield _Voc(out / "Annotations", _Places(photos, flat=True))


class _Voc:
    def __init__(self, folder: Path, places: _Places) -> None:
        self._folder, self._places = folder, places

    def add(self, photo: Path, size: tuple[int, int], found: Detections) -> None:
        root = Element("annotation")
        SubElement(root, "folder").text = photo.parent.name
        SubElement(root, "filename").text = f"{self._places.of(photo)}{photo.suffix}"
        sides = SubElement(root, "size")
        for tag, side in zip(("width", "height", "depth"), (size[1], size[0], 3), strict=True):
            SubElement(sides, tag).text = str(side)
        for (x1, y1, x2, y2), name in zip(found.boxes.tolist(), found.names, strict=True):
            item = SubElement(root, "object")
            SubElement(item, "name").text = name
            for tag, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
                SubElement(item, tag).text = text
            corners = SubElement(item, "bndbox")
            # Pixels count from 1, and the last is included.
            for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True):
                SubElement(corners, tag).text = f"{value:.3f}"
        indent(root)
        path = self._folder / f"{self._places.of(photo)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tostring(root, encoding="unicode") + "\n")


@contextmanager
def _label_studio(out: Path, classes: Sequence[str], photos: Sequence[Path]) -> Iterator[PredictionFile]:
    """label_studio.json, one task with predictions per photo, and label_config.xml, the project's interface."""
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image")
    labels = SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in classes[1:]:
        SubElement(labels, "Label", value=name)
    indent(view)
    with atomic_file(out / "label_studio.json") as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        yield _LabelStudio(file)
        file.write("]\n")
    write_text(out / "label_config.xml", tostring(view, encoding="unicode") + "\n")


class _LabelStudio:
    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._tasks = 0

    def add(self, photo: Path, size: tuple[int, int], found: Detections) -> None:
        height, width = size
        regions = [
            {
                "id": f"{self._tasks}-{index}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "score": round(score, 6),
                "value": {
                    "x": round(100 * x1 / width, 6),
                    "y": round(100 * y1 / height, 6),
                    "width": round(100 * (x2 - x1) / width, 6),
                    "height": round(100 * (y2 - y1) / height, 6),
                    "rotation": 0,
                    "rectanglelabels": [name],
                },
            }
            for index, ((x1, y1, x2, y2), name, score) in enumerate(
                zip(found.boxes.tolist(), found.names, found.scores.tolist(), strict=True)
            )
        ]
        best = round(max(found.scores.tolist(), default=0.0), 6)
        task = {
            "data": {"image": f"/data/local-files/?d={quote(photo.as_posix().lstrip('/'))}"},
            "predictions": [{"model_version": "frcnn", "score": best, "result": regions}],
        }
        self._file.write((",\n" if self._tasks else "\n") + json.dumps(task))
        self._tasks += 1


_WRITERS = {"coco": _coco, "yolo": _yolo, "voc": _voc, "labelstudio": _label_studio}
