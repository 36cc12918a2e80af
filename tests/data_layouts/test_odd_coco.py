"""What COCO's layout is looked for in may have any names and values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.data_layouts.coco import coco_layouts
from pipeline.data_layouts.layout import Layout, Miss


def plant(root: Path, folder: str, categories: list[dict[str, Any]]) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": categories,
    }
    (root / "train.json").write_text(json.dumps(content))
    (root / folder).mkdir()
    (root / folder / "a.jpg").touch()


@pytest.mark.parametrize("odd", ["zz{q}", "aa{0}", "zz{", "a}b", "{name}"])
def test_folders_with_braces_are_passed_over(tmp_path: Path, odd: str) -> None:
    plant(tmp_path, odd, [{"id": 1, "name": "cat"}])
    (miss,) = coco_layouts(tmp_path)
    assert isinstance(miss, Miss) and "no folder holds the images of train.json (a.jpg)" in miss.why
    (tmp_path / "zzz").mkdir()
    (tmp_path / "zzz/a.jpg").touch()
    (layout,) = coco_layouts(tmp_path)
    assert isinstance(layout, Layout) and layout.settings["images"] == "zzz"


@pytest.mark.parametrize("key", [[3], {"a": 1}, None, 1.5])
def test_an_id_of_a_category_may_be_anything(tmp_path: Path, key: Any) -> None:
    plant(tmp_path, "photos", [{"id": 1, "name": "cat", "supercategory": "pet"}, {"id": key, "name": "pet"}])
    (layout,) = coco_layouts(tmp_path)
    assert isinstance(layout, Layout) and layout.settings["classes"] == ["cat"]
