"""What a stage left, one image at a time: pixels, gt boxes, targets, proposals and feature maps.

An `Entry` is an image seen plain or mirrored; mirrors share the stored pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.shards import ShardReader, member_name
from pipeline.artifacts.tables import Columns, ImageRows, boxes_of, read_columns
from pipeline.errors import InputError


class Entry(NamedTuple):
    """An image, plain or mirrored."""

    image_id: str
    mirrored: bool

    @property
    def seed_key(self) -> tuple[str, int]:
        """What seeds take: the image, and its view as an integer, 0 plain and 1 mirrored."""
        return self.image_id, int(self.mirrored)


@dataclass(frozen=True)
class ImageInfo:
    """`size` (H, W) and `scale` (x, y) of a resized image, `original_size` (H, W), and the shard of its pixels."""

    image_id: str
    size: tuple[int, int]
    original_size: tuple[int, int]
    scale: tuple[float, float]
    shard: str


class ResizedImages:
    """The resize stage's images of some splits, all without a name, in ascending order of image_id."""

    def __init__(self, folder: Path, *splits: str) -> None:
        columns = read_columns(Path(folder) / "images.parquet", schemas.RESIZED_IMAGES)
        chosen = [i for i, own in enumerate(columns["split"]) if not splits or own in splits]
        self._infos = {
            str(columns["image_id"][i]): ImageInfo(
                str(columns["image_id"][i]),
                (int(columns["height"][i]), int(columns["width"][i])),
                (int(columns["original_height"][i]), int(columns["original_width"][i])),
                (float(columns["scale_x"][i]), float(columns["scale_y"][i])),
                str(columns["shard"][i]),
            )
            for i in chosen
        }
        self._shards = ShardReader(Path(folder))

    def __len__(self) -> int:
        return len(self._infos)

    def __iter__(self) -> Iterator[ImageInfo]:
        return iter(self._infos.values())

    def __getitem__(self, image_id: str) -> ImageInfo:
        return self._infos[image_id]

    def pixels(self, entry: Entry) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        pixels = self._shards.read(self._infos[entry.image_id].shard, entry.image_id)
        # OpenCV turns a row of pixels around in a fortieth of the time that NumPy takes to copy one backwards.
        return cv2.flip(pixels, 1) if entry.mirrored else pixels


def held_out_images(folder: Path) -> ResizedImages:
    """The images that nothing is trained on: those of val and test."""
    return ResizedImages(folder, "val", "test")


def evaluated_images(folder: Path, split: str) -> ResizedImages:
    """The images of `evaluate.split`.

    Raises:
        InputError: the data set has none.
    """
    images = ResizedImages(folder, split)
    if len(images) == 0:
        raise InputError(f"{Path(folder) / 'images.parquet'}: has no {split} images; change evaluate.split or dataset")
    return images


class GroundTruth:
    """The trainable gt boxes of resized images: neither difficult nor crowd, as the paper trains; and the regions where
    nothing may be taken for background: crowds and ignore regions (label -1)."""

    def __init__(self, folder: Path) -> None:
        columns = read_columns(Path(folder) / "boxes.parquet", schemas.RESIZED_BOXES)
        ignore = columns["label"] < 0
        keep = ~(columns["difficult"] | columns["iscrowd"] | ignore)
        self._boxes = boxes_of(columns)[keep]
        self._labels = columns["label"][keep].astype(np.int64)
        self._spans = _spans_of(columns["image_id"][keep])
        region = columns["iscrowd"] | ignore
        self._regions = boxes_of(columns)[region]
        self._region_spans = _spans_of(columns["image_id"][region])

    def __getitem__(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """gt_boxes (G, 4) float32 in resized pixels of the plain image, gt_labels (G,) int64."""
        span = self._spans.get(image_id, slice(0, 0))
        return self._boxes[span], self._labels[span]

    def boxes(self, entry: Entry, width: int) -> np.ndarray:
        """gt_boxes (G, 4) of the image as the entry sees it."""
        return _seen(self[entry.image_id][0], entry, width)

    def regions(self, entry: Entry, width: int) -> np.ndarray:
        """(I, 4) float32 crowd and ignore regions of the image as the entry sees it, in resized pixels."""
        span = self._region_spans.get(entry.image_id, slice(0, 0))
        return _seen(self._regions[span], entry, width)


def _seen(boxes: np.ndarray, entry: Entry, width: int) -> np.ndarray:
    if not entry.mirrored:
        return boxes
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _spans_of(ids: np.ndarray) -> dict[str, slice]:
    """Where each image's rows stand, which come one image after another."""
    starts = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    ends = [*starts, len(ids)][1:]
    return {str(ids[start]): slice(start, end) for start, end in zip(starts, ends, strict=True)}


@dataclass(frozen=True)
class AnchorAssignment:
    """`fg` (F,) and `bg` (N,) int64 anchor indices of an image, `deltas` (F, 4) and `matched_gt` (F,) of the fg."""

    fg: np.ndarray
    bg: np.ndarray
    deltas: np.ndarray
    matched_gt: np.ndarray


class AnchorTargets:
    """The anchor_targets stage's assignments."""

    def __init__(self, folder: Path) -> None:
        images = read_columns(Path(folder) / "images.parquet", schemas.ANCHOR_IMAGES)
        self._images = {
            str(image_id): (str(shard), int(anchors), int(gt_boxes))
            for image_id, shard, anchors, gt_boxes in zip(
                *(images[name] for name in ("image_id", "shard", "anchors", "gt_boxes")), strict=True
            )
        }
        self._rows = ImageRows(Path(folder) / "fg_anchors.parquet", schemas.FG_ANCHORS)
        self._shards = ShardReader(Path(folder))

    def has_gt(self, image_id: str) -> bool:
        """Whether the image has a trainable gt box."""
        return self._images[image_id][2] > 0

    def has_anchor(self, image_id: str) -> bool:
        """Whether the image has a fg or a bg anchor."""
        own = self[Entry(image_id, False)]
        return len(own.fg) > 0 or len(own.bg) > 0

    def __getitem__(self, entry: Entry) -> AnchorAssignment:
        rows = self._rows[entry]
        shard, anchors, _ = self._images[entry.image_id]
        is_bg = np.unpackbits(self._shards.read(shard, member_name(*entry)), count=anchors)
        return AnchorAssignment(
            rows["anchor"].astype(np.int64), np.flatnonzero(is_bg), deltas_of(rows), rows["matched_gt"].astype(np.int64)
        )


class MapWriter:
    """Writes one map an entry in npz shards, PREFIX-00000.npz and so on, and images.parquet, their index."""

    def __init__(self, work: ChunkedWork, prefix: str) -> None:
        self._shards = work.shards(prefix)
        self._table = work.table("images.parquet", schemas.FEATURE_IMAGES)

    def add(self, maps: Mapping[Entry, np.ndarray], size: tuple[int, int]) -> None:
        """The maps, (..., Fh, Fw), of the entries of the image at hand; `size` is (H, W) of the resized image."""
        # A cell's channels side by side, as convolutions want them: a batch is then put together ten times as fast.
        shard = self._shards.add({member_name(*entry): np.asfortranarray(array) for entry, array in maps.items()})
        for entry, array in maps.items():
            self._table.write(
                {
                    "image_id": entry.image_id,
                    "mirrored": entry.mirrored,
                    "width": size[1],
                    "height": size[0],
                    "feature_height": array.shape[-2],
                    "feature_width": array.shape[-1],
                    "shard": shard,
                }
            )


class FeatureMaps:
    """The conv maps of the features stage or of frozen_features."""

    def __init__(self, folder: Path) -> None:
        columns = read_columns(Path(folder) / "images.parquet", schemas.FEATURE_IMAGES)
        self._entries = {
            Entry(str(image_id), bool(mirrored)): (str(shard), (int(height), int(width)))
            for image_id, mirrored, shard, height, width in zip(
                *(columns[name] for name in ("image_id", "mirrored", "shard", "height", "width")), strict=True
            )
        }
        self._shards = ShardReader(Path(folder))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def size(self, entry: Entry) -> tuple[int, int]:
        """(H, W) of the resized image."""
        return self._entries[entry][1]

    def __getitem__(self, entry: Entry) -> np.ndarray:
        """(D, Fh, Fw) float16 or float32."""
        return self._shards.read(self._entries[entry][0], member_name(*entry))


def deltas_of(columns: Columns) -> np.ndarray:
    """The (N, 4) float32 deltas of columns dx, dy, dw, dh."""
    return np.stack([columns[name] for name in ("dx", "dy", "dw", "dh")], axis=1).astype(np.float32, copy=False)


def delta_columns(deltas: np.ndarray) -> Columns:
    """Columns dx, dy, dw, dh of (N, 4) deltas."""
    return {name: deltas[:, i] for i, name in enumerate(("dx", "dy", "dw", "dh"))}
