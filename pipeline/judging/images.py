"""Which image of a data set a name in a file of detections means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.datasets.base import AnnotatedImage


class ImageNames:
    """Images by all that may stand for one: its id, its path, its file's name, each with and without suffix. The
    longest wins, and what would stand for two stands for none."""

    def __init__(self) -> None:
        self._places: dict[str, int | None] = {}

    def add(self, image: AnnotatedImage, place: int) -> None:
        """Know an image under a number."""
        path = PurePosixPath(image.file.partition("/")[2] or image.file)
        for key in {image.image_id, *_keys(path)}:
            self._places[key] = place if self._places.get(key, place) == place else None

    def find(self, name: str) -> int | None:
        """The number of the image that is meant, None where none is."""
        for key in _keys(PurePosixPath(name.replace("\\", "/"))):
            place = self._places.get(key)
            if place is not None:
                return place
        return None


def _keys(path: PurePosixPath) -> Iterator[str]:
    yield path.as_posix()
    yield path.with_suffix("").as_posix() if path.name else ""
    yield path.name
    yield path.stem
