"""Maps in shards, one a level of an entry, with images.parquet, their index: their writer and their reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.fields import ID, VIEW, table_schema
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import read_columns

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

INDEX_FILE = "images.parquet"

FEATURE_IMAGES = table_schema(
    ID,
    VIEW,
    ("width", pa.int32(), "px, resized"),
    ("height", pa.int32(), "px, resized"),
    ("feature_height", pa.int32(), "cells"),
    ("feature_width", pa.int32(), "cells"),
    ("shard", pa.string(), "npz file that holds the map"),
)


class MapWriter:
    """Writes the maps of an entry, one a level, in npz shards, and images.parquet, their index.

    The first level's shards are PREFIX-00000.npz and so on, those of another PREFIX_level1-00000.npz; an entry has one
    row a level, in the order of levels.
    """

    def __init__(self, work: ChunkedWork, prefix: str, levels: int = 1) -> None:
        self._shards = [work.shards(f"{prefix}_level{level}" if level else prefix) for level in range(levels)]
        self._table = work.table(INDEX_FILE, FEATURE_IMAGES)

    def add(self, maps: Mapping[Entry, Sequence[np.ndarray]], size: tuple[int, int]) -> None:
        """The maps, (..., Fh, Fw), of entries of the image at hand; they are of one scale, of one (H, W) `size`."""
        # A cell's channels side by side, as convolutions want them: a batch is then put together ten times as fast.
        names = [
            shards.add({entry.name: np.asfortranarray(own[level]) for entry, own in maps.items()})
            for level, shards in enumerate(self._shards)
        ]
        for entry, own in maps.items():
            for shard, array in zip(names, own, strict=True):
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
        columns = read_columns(Path(folder) / INDEX_FILE, FEATURE_IMAGES)
        entries = map(Entry, columns["image_id"].tolist(), columns["view"].tolist())
        sizes = zip(columns["height"].tolist(), columns["width"].tolist(), strict=True)
        self._entries: dict[Entry, tuple[list[str], tuple[int, int]]] = {}
        for entry, shard, size in zip(entries, columns["shard"].tolist(), sizes, strict=True):
            self._entries.setdefault(entry, ([], size))[0].append(shard)
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

    def __getitem__(self, entry: Entry) -> tuple[np.ndarray, ...]:
        """(D, Fh, Fw) float16 or float32, one a level; (Fh, Fw) float16 of objectness."""
        return tuple(self._shards.read(shard, entry.name) for shard in self._entries[entry][0])
