"""The few images of an artifact that a picture shows: which ones, their pixels, their gt boxes.

Tables are opened through `ImageRows` and shards member by member, so that a few images of many thousand cost what they
weigh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry, seen_boxes
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import boxes_of, iterate_groups
from pipeline.datasets.images import read_rgb
from pipeline.datasets.interpolation import to_size
from pipeline.runtime.errors import InputError
from pipeline.views.json_files import read_json


@dataclass(frozen=True)
class FlaggedGtBoxes:
    """`boxes` (G, 4) float32, `labels` (G,) int64, -1 a region to ignore; (G,) bool flags `difficult` and `iscrowd`."""

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    iscrowd: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def ignored(self) -> np.ndarray:
        """(G,) bool: difficult, crowd or a region to ignore, so not trained on."""
        ignored: np.ndarray = self.difficult | self.iscrowd | (self.labels < 0)
        return ignored

    @property
    def trainable(self) -> FlaggedGtBoxes:
        """Those that `matched_gt` of the targets counts."""
        keep = ~self.ignored
        return FlaggedGtBoxes(self.boxes[keep], self.labels[keep], self.difficult[keep], self.iscrowd[keep])


def columns_of(schema: pa.Schema, *names: str) -> pa.Schema:
    """The part of a table's schema with these columns, to read no others."""
    return pa.schema([schema.field(name) for name in names])


class ImageIndex:
    """images.parquet and boxes.parquet of the dataset or the resize stage, one image at a time."""

    def __init__(self, folder: Path, images: pa.Schema, boxes: pa.Schema) -> None:
        self.folder = Path(folder)
        self._schema = images
        self._images = ImageRows(self.folder / "images.parquet", images)
        self._boxes = ImageRows(self.folder / "boxes.parquet", boxes)

    def class_names(self) -> list[str]:
        """classes.json, the background first."""
        return [str(name) for name in read_json(self.folder / "classes.json", list, "list of class names")]

    def row(self, image_id: str, view: int = 0) -> dict[str, object]:
        """The image's row of images.parquet, of one of the views that are stored."""
        rows = self._images[image_id, view]
        if not len(rows["split"]):
            raise InputError(
                f"{self.folder / 'images.parquet'}: no image {Entry(image_id, view).name!r}; name one of its image_id"
            )
        return {name: values[0] for name, values in rows.items()}

    def gt(self, entry: Entry, width: float) -> FlaggedGtBoxes:
        """All gt boxes of the image of `width` px, as the entry sees it."""
        rows = self._boxes[entry.stored]
        boxes = boxes_of(rows)
        return FlaggedGtBoxes(
            seen_boxes(boxes, entry, width),
            rows["label"].astype(np.int64),
            rows["difficult"].astype(bool),
            rows["iscrowd"].astype(bool),
        )

    def choose(self, splits: Sequence[str], count: int) -> list[Entry]:
        """The first `count` images of the first of the splits that has any, those with gt boxes before others.

        Raises:
            InputError: there are no images.
        """
        for own in splits:
            ids = self._first(own, count)
            if ids:
                return [Entry(image_id) for image_id in ids]
        raise InputError(
            f"{self.folder / 'images.parquet'}: holds no {' or '.join(splits)} images; dvc repro {self.folder.name}"
        )

    def _first(self, split: str, count: int) -> list[str]:
        chosen: list[str] = []
        others: list[str] = []
        names = [name for name in ("image_id", "view", "split") if name in self._schema.names]
        for group in iterate_groups(self.folder / "images.parquet", columns_of(self._schema, *names)):
            own = (group["split"] == split) & (group.get("view", 0) == 0)
            for image_id in group["image_id"][own]:
                (chosen if len(self._boxes[image_id, 0]["label"]) else others).append(str(image_id))
                if len(chosen) == count:
                    return chosen
        return [*chosen, *others[: count - len(chosen)]]


class OriginalImages(ImageIndex):
    """The dataset stage's images. `roots` are the folders that the first part of a `file` names."""

    def __init__(self, folder: Path, raw: Path) -> None:
        super().__init__(folder, DATASET_IMAGES, DATASET_BOXES)
        self._roots = {"raw": Path(raw), "dataset": self.folder}

    def pixels(self, image_id: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB, turned as the file's EXIF orientation says.

        Raises:
            InputError: the file is missing or cannot be decoded.
        """
        root, _, rest = str(self.row(image_id)["file"]).partition("/")
        path = self._roots.get(root, self.folder / root) / rest
        return read_rgb(path)


class NetworkImages(ImageIndex):
    """The resize stage's images, as the network sees them.

    Args:
        originals: makes the reader of the originals, which pixels that are not stored come from.
    """

    def __init__(self, folder: Path, originals: Callable[[], OriginalImages] | None = None) -> None:
        super().__init__(folder, RESIZED_IMAGES, RESIZED_BOXES)
        self._shards = ShardReader(self.folder, open_shards=2)
        self._make_originals = originals

    def pixels(self, entry: Entry) -> np.ndarray:
        """(H, W, 3) uint8 RGB, as the entry sees it, which is not drawn.

        Raises:
            InputError: they are not stored, and their original cannot be decoded or is not known.
        """
        row, stored = self.row(*entry.stored), entry.stored
        if row["shard"]:
            pixels = self._shards.read(str(row["shard"]), stored.name)
        else:
            pixels = to_size(self.source(stored.image_id), self.size(stored))
        return pixels[:, ::-1] if entry.mirrored else pixels

    def source(self, image_id: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB that views of an image are drawn from: the original, or where pixels are stored those in
        view 0."""
        if self.row(image_id)["shard"]:
            return self.pixels(Entry(image_id))
        return self._originals.pixels(image_id)

    @cached_property
    def _originals(self) -> OriginalImages:
        if self._make_originals is None:
            raise InputError(
                f"{self.folder}: holds no pixels (resize.keep none), and dvc.yaml has no stage that says where the "
                "originals are; run frcnn graph, or set resize.keep to pixels"
            )
        return self._make_originals()

    def size(self, entry: Entry) -> tuple[int, int]:
        """(H, W) of the image as the entry sees it."""
        row = self.row(*entry.stored)
        return int(row["height"]), int(row["width"])  # type: ignore[call-overload]

    def gt_of(self, entry: Entry) -> FlaggedGtBoxes:
        """Its gt boxes, as the entry sees it."""
        return self.gt(entry, float(self.row(*entry.stored)["width"]))  # type: ignore[arg-type]

    def scale(self, image_id: str) -> np.ndarray:
        """(4,) float32: resized px per original px of x1, y1, x2, y2."""
        row = self.row(image_id)
        return np.array([row["scale_x"], row["scale_y"]] * 2, dtype=np.float32)
