"""Which files of a folder are taken for images, by their names; what they hold is `pipeline.datasets.images` to say.

The one list of all that search folders. Files of kinds that no reader of this project decodes are in it too, so that
they are reported instead of ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

READ = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp"),
    *(".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"),
)
NOT_READ = (
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".wdp"),
    *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".tga", ".exr", ".hdr", ".ico", ".pcx", ".psd", ".xcf", ".svg"),
)
ALL = READ + NOT_READ


def is_image_name(name: str) -> bool:
    """Whether a file of this name or path is taken for an image."""
    return name.lower().endswith(ALL)


def without_twins(files: Iterable[str]) -> list[str]:
    """Paths of images without those of a kind that is not read where another image is called the same.

    Cameras and converters leave a.heic beside a.jpg: the photo is not lost.
    """
    files = list(files)
    read = {_stem(file) for file in files if file.lower().endswith(READ)}
    return [file for file in files if file.lower().endswith(READ) or _stem(file) not in read]


def _stem(file: str) -> str:
    return str(PurePosixPath(file).with_suffix(""))
