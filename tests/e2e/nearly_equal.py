"""Whether two folders of a stage hold the same but for the last bits: boxes in pairs, maps within a tolerance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.tables import read_columns


def rows_of(path: Path, schema: Any, extra: tuple[str, ...] = ()) -> dict[Any, dict[str, np.ndarray]]:
    """The rows of each entry of a table, in their order."""
    columns = read_columns(path, schema)
    views = columns["view"] if "view" in columns else np.zeros(len(columns["image_id"]), np.int64)
    keys = list(zip(columns["image_id"].tolist(), views.tolist(), strict=True))
    assert [key for place, key in enumerate(keys) if not place or keys[place - 1] != key] == list(dict.fromkeys(keys))
    boxes = np.stack([columns[name] for name in ("x1", "y1", "x2", "y2")], axis=1)
    found = {}
    for key in dict.fromkeys(keys):
        own = [place for place, other in enumerate(keys) if other == key]
        found[key] = {"boxes": boxes[own], **{name: columns[name][own] for name in ("score", *extra)}}
    return found


def detections_of(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The detections of each image."""
    found = rows_of(folder / "detections.parquet", DETECTIONS, ("label",))
    return {image_id: own for (image_id, _), own in found.items()}


def assert_paired(one: dict[Any, dict[str, np.ndarray]], other: dict[Any, dict[str, np.ndarray]]) -> None:
    """Whether each box of one has a partner in the other, score and place nearly its own, in entries in equal order."""
    assert list(one) == list(other)
    for key, own in one.items():
        theirs = other[key]
        assert len(own["score"]) == len(theirs["score"]), key
        for place, score in enumerate(own["score"]):
            near = np.abs(theirs["score"] - score) < 1e-4
            near &= (np.abs(theirs["boxes"] - own["boxes"][place]) < 0.05).all(axis=1)
            if "label" in own:
                near &= theirs["label"] == own["label"][place]
            assert near.any(), (key, place)


def assert_maps(one: Path, other: Path, most: float) -> None:
    """Whether the maps of two folders are nearly equal, entries and shards being in equal order."""
    assert (one / "images.parquet").read_bytes() == (other / "images.parquet").read_bytes()
    mine, theirs = FeatureMaps(one), FeatureMaps(other)
    for entry in mine:
        for level, own in zip(mine[entry], theirs[entry], strict=True):
            assert level.dtype == own.dtype
            np.testing.assert_allclose(level.astype(np.float32), own.astype(np.float32), rtol=most, atol=most)
