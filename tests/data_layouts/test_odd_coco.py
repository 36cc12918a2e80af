"""What COCO's layout is looked for in may have any names and values, and other files beside the annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data_layouts.coco import coco_layouts
from pipeline.data_layouts.layout import Layout, Miss
from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.base import Dataset
from pipeline.datasets.reading import read_dataset
from pipeline.runtime.errors import InputError
from tests.data_layouts import writers
from tests.data_layouts.photos import put
from tests.defaults import default_params


def opened(root: Path) -> tuple[str, Dataset]:
    """What the line of `frcnn preset` says, and the data set."""
    defaults = default_params().dataset
    layout = recognise(root, defaults)
    return layout.what, read_dataset(root, layout.params(defaults))


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


def test_names_that_mean_one_image_are_shown_as_written(tmp_path: Path) -> None:
    writers.roboflow_coco(tmp_path)
    file = tmp_path / "train/_annotations.coco.json"
    content = json.loads(file.read_text())
    name = content["images"][0]["file_name"]
    content["images"].append({**content["images"][0], "id": 99, "file_name": name.upper()})
    put(file, json.dumps(content))
    with pytest.raises(InputError) as caught:
        list(opened(tmp_path)[1].images)
    assert f"train/{name} (written '{name.upper()}')" in str(caught.value)
    assert f"train/{name} and" in str(caught.value) or f"and train/{name} would" in str(caught.value)


LOG = '{"loss": 1.5}\n{"loss": 1.25}\n'


@pytest.mark.parametrize(
    ("write", "log"),
    [
        (writers.coco_named_by_splits, "train_log.json"),
        (writers.coco_named_by_splits, "training/log.json"),
        (writers.roboflow_coco, "train/metadata.json"),
        (writers.fiftyone_coco, "val/metrics.json"),
        (writers.plain_csv, "train_log.json"),
    ],
)
def test_a_log_that_is_no_json_hides_no_data(tmp_path: Path, write: Callable[[Path], None], log: str) -> None:
    write(tmp_path)
    what, dataset = opened(tmp_path)
    put(tmp_path / log, LOG)
    again, other = opened(tmp_path)
    assert again == what
    assert [image.image_id for image in other.images] == [image.image_id for image in dataset.images]


@pytest.mark.parametrize("named", ["train.json", "val_annotations.coco.json", "test_boxes.json"])
def test_annotations_that_are_no_json_are_refused_unless_the_user_names_others(tmp_path: Path, named: str) -> None:
    writers.coco_named_by_splits(tmp_path)
    put(tmp_path / named, '{"info": {}, "images": [{"id"')
    with pytest.raises(InputError, match=f"no reader fits: {named}: not valid JSON"):
        opened(tmp_path)
    split = next(split for split in ("train", "val", "test") if split in named)
    own = {"train": ["train_annotations.json"], "val": ["valid_annotations.json"], "test": ["valid_annotations.json"]}
    given = {f"dataset.coco.{split}": own[split]}
    assert recognise(tmp_path, default_params().dataset, given=given).reader == "coco"
    if split == "train":
        with pytest.raises(InputError, match=f"no reader fits: {named}: not valid JSON"):
            recognise(tmp_path, default_params().dataset, given={"dataset.coco.train": [named]})
