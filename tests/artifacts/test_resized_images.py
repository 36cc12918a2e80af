"""What the resize stage's images say of themselves, and at which cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import TableWriter

COUNT = 20


@pytest.fixture
def images(tmp_path: Path) -> ResizedImages:
    ids = [f"{number:03}" for number in range(COUNT) for _ in range(2)]
    columns: dict[str, list[Any]] = {
        "image_id": ids,
        "view": [0, 2] * COUNT,
        "split": ["train"] * 2 * COUNT,
        "width": [100, 50] * COUNT,
        "height": [80, 40] * COUNT,
        "original_width": [200] * 2 * COUNT,
        "original_height": [160] * 2 * COUNT,
        "scale_x": [0.5, 0.25] * COUNT,
        "scale_y": [0.5, 0.25] * COUNT,
        "shard": ["pixels-00000.npz"] * 2 * COUNT,
    }
    with TableWriter(tmp_path / "images.parquet", RESIZED_IMAGES) as table:
        table.write(columns)
    return ResizedImages(tmp_path, "train")


def test_each_image_has_its_views_at_every_scale(images: ResizedImages) -> None:
    assert images.scales == 2
    assert images.views(mirror=True) == (0, 1, 2, 3)
    assert len(list(images.entries(mirror=False))) == 2 * COUNT
    assert images.seen(Entry("003", 3)).size == (40, 50)


def test_stages_that_ask_for_the_views_of_every_image_look_at_each_once(
    images: ResizedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale, asked = Entry.scale, Entry.scale.fget  # type: ignore[attr-defined]
    seen: list[Entry] = []

    def counted(entry: Entry) -> int:
        seen.append(entry)
        own: int = asked(entry)
        return own

    assert isinstance(scale, property)
    monkeypatch.setattr(Entry, "scale", property(counted))
    for _ in images:
        images.views(mirror=True)
    assert len(seen) <= 2 * COUNT
