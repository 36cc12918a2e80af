"""Maps names in a file of detections to the images of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.datasets.base import AnnotatedImage

_ID, _PATH, _PLAIN_PATH, _NAME, _STEM = range(5)  # what an image is called by, the strongest first


class ImageNames:
    """Images of a split by all that may stand for one: its id, its path, that without suffix, its file's name, that
    without suffix. The strongest that any image of the data set has decides; what stands for two stands for none."""

    def __init__(self) -> None:
        self._own: tuple[dict[str, int | None], ...] = tuple({} for _ in range(_STEM + 1))
        self._others: tuple[set[str], ...] = tuple(set() for _ in range(_STEM + 1))

    def add(self, image: AnnotatedImage, place: int | None) -> None:
        """Know an image under a number; None: it is of another split, so that its names are not taken for others."""
        path = PurePosixPath(image.file.partition("/")[2] or image.file)
        keys = (image.image_id, path.as_posix(), _without_suffix(path), path.name, path.stem)
        for own, others, key in zip(self._own, self._others, keys, strict=True):
            if place is None:
                others.add(key)
            else:
                own[key] = place if own.get(key, place) == place else None

    def find(self, name: str) -> int | None:
        """The number of the image that a name means, or None if there is none or it is in another split.

        A name without folder that images of several splits have means that of this split. One with a folder is
        matched by its file's name only where other splits are known too.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        in_folder = len(path.parts) > 1
        for strength, key in _keys(path):
            if strength >= _NAME and in_folder and not self._others[_ID]:
                return None
            if key in self._others[strength] and (in_folder or key not in self._own[strength]):
                return None
            if key in self._own[strength]:
                return self._own[strength][key]
        return None


def _keys(path: PurePosixPath) -> Iterator[tuple[int, str]]:
    """What a given path may be, the strongest first; an absolute path may end in that of an image."""
    yield _ID, path.as_posix()
    for first in range(max(len(path.parts) - 1, 1)):
        end = PurePosixPath(*path.parts[first:])
        yield _PATH, end.as_posix()
        yield _PLAIN_PATH, end.as_posix()
        yield _PLAIN_PATH, _without_suffix(end)
    yield _NAME, path.name
    yield _STEM, path.name
    yield _STEM, path.stem


def _without_suffix(path: PurePosixPath) -> str:
    return path.with_suffix("").as_posix() if path.name else ""
