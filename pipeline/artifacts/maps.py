"""Maps in shards, one an entry, with images.parquet, their index: their writer and their reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import read_columns

INDEX_FILE = "images.parquet"


class MapWriter:
    """Writes one map an entry in npz shards, PREFIX-00000.npz and so on, and images.parquet, their index."""

    def __init__(self, work: ChunkedWork, prefix: str) -> None:
        self._shards = work.shards(prefix)
        self._table = work.table(INDEX_FILE, schemas.FEATURE_IMAGES)

    def add(self, maps: Mapping[Entry, np.ndarray], size: tuple[int, int]) -> None:
        """The maps, (..., Fh, Fw), of entries of the image at hand; they are of one scale, of one (H, W) `size`."""
        # A cell's channels side by side, as convolutions want them: a batch is then put together ten times as fast.
        shard = self._shards.add({entry.name: np.asfortranarray(array) for entry, array in maps.items()})
        for entry, array in maps.items():
            self._table.write(
                {
                    **entry.columns,
                    "width": size[1],
                    "height": size[0],
                    "feature_height": array.shape[-2],
                    "feature_width": array.shape[-1],
                    "shard": shard,
                }
            )


class FeatureMaps:
    """The maps of a stage: conv maps of features or frozen_features, objectness of proposals or detect."""

    def __init__(self, folder: Path) -> None:
        columns = read_columns(Path(folder) / INDEX_FILE, schemas.FEATURE_IMAGES)
        entries = map(Entry, columns["image_id"].tolist(), columns["view"].tolist())
        sizes = zip(columns["height"].tolist(), columns["width"].tolist(), strict=True)
        self._entries = dict(zip(entries, zip(columns["shard"].tolist(), sizes, strict=True), strict=True))
        self._shards = ShardReader(Path(folder))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __contains__(self, entry: object) -> bool:
        return entry in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def size(self, entry: Entry) -> tuple[int, int]:
        """(H, W) of the resized image."""
        return self._entries[entry][1]

    def __getitem__(self, entry: Entry) -> np.ndarray:
        """(D, Fh, Fw) float16 or float32; (Fh, Fw) float16 of objectness."""
        return self._shards.read(self._entries[entry][0], entry.name)
