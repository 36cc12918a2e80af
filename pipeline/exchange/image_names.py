"""How other codebases name our images: ids as text or number, file names, the ends of paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.tables import read_columns

_SEVERAL = ""


def image_files(dataset: Path) -> dict[str, PurePosixPath]:
    """image_id to the path of the image's file, as the dataset stage wrote them.

    Raises:
        InputError: the table is missing or damaged.
    """
    columns = read_columns(Path(dataset) / "images.parquet", DATASET_IMAGES, ["image_id", "file"])
    return {
        str(image_id): PurePosixPath(str(file))
        for image_id, file in zip(columns["image_id"], columns["file"], strict=True)
    }


class ImageNames:
    """Finds the image that another codebase's name means.

    An image is known by its image_id, by its file's name with and without the suffix, by any end of its path
    (`JPEGImages/000005.jpg`), and, where the name is a number, by that number (`5` for COCO's 000000000005.jpg). A name
    that several images share means none of them, unless it is the image_id of one.
    """

    def __init__(self, files: Mapping[str, PurePosixPath]) -> None:
        self._names: dict[str, str] = {}
        for image_id, file in files.items():
            names = {"/".join(file.parts[start:]) for start in range(1, len(file.parts))} | {file.stem}
            if file.stem.isdecimal():
                names.add(str(int(file.stem)))
            for name in names:
                self._names[name] = image_id if self._names.get(name, image_id) == image_id else _SEVERAL
        self._names.update({image_id: image_id for image_id in files})

    def find(self, name: str) -> str | None:
        """The image_id that `name` means, or None; for a path, the longest known end counts."""
        parts = name.replace("\\", "/").split("/")
        for start in range(len(parts)):
            found = self._names.get("/".join(parts[start:]))
            if found is not None:
                return found or None
        return None
