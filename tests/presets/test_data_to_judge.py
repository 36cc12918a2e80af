"""By which layout a detector is judged on a data set of its own, and on which images."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data_layouts.recognising import layouts_of
from pipeline.datasets.base import Split
from pipeline.datasets.reading import read_dataset
from pipeline.presets.apply import preset_params
from pipeline.presets.data_layout import data_to_judge
from pipeline.runtime.errors import InputError
from tests.data_layouts.public import PUBLIC
from tests.defaults import default_params
from tests.presets import odd_trees


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("name", PUBLIC)
def test_a_detector_is_judged_on_a_split_of_any_layout(name: str, split: Split, tmp_path: Path) -> None:
    PUBLIC[name].write(tmp_path)
    read = PUBLIC[name].read(tmp_path)
    declared = layouts_of(tmp_path, default_params().dataset, PUBLIC[name].reader)[0].splits
    expected = read.get(split) if declared.get("test") else read["test"]  # which is val, where there is no other
    for defaults in (default_params().dataset, preset_params("tinycoco").dataset):
        if not expected:
            with pytest.raises(InputError, match=f"has no {split} split; give --split, it has "):
                data_to_judge(tmp_path, defaults, [], split)
            continue
        params, line = data_to_judge(tmp_path, defaults, [], split)
        images = list(read_dataset(tmp_path, params).images)
        assert {image.file.removeprefix("raw/") for image in images} == {*expected}
        assert {image.split for image in images} == {split}
        assert line is None or line.startswith(f"dataset: reader {PUBLIC[name].reader}, ")


def test_a_detector_is_judged_on_all_images_of_data_without_splits_or_on_what_is_named(tmp_path: Path) -> None:
    for name, write in odd_trees.UNDIVIDED.items():
        write(tmp_path / name)
        params, line = data_to_judge(tmp_path / name, default_params().dataset, [], "test")
        assert sorted(image.split for image in read_dataset(tmp_path / name, params).images) == ["test"] * 5
        assert line is not None and "all images, as there are no splits (" in line
        with pytest.raises(InputError, match=r"and has no val split; give --split, it has train"):
            data_to_judge(tmp_path / name, default_params().dataset, [], "val")
    root = tmp_path / "KITTI without lists"
    own = default_params().dataset.model_copy(update={"reader": "voc"})
    for overrides, reader in ((["dataset.reader=voc"], "voc"), (["dataset.reader=auto"], "kitti"), ([], "kitti")):
        assert data_to_judge(root, own, overrides, "test")[0].reader == reader
    mine = own.model_copy(update={"voc": own.voc.model_copy(update={"test": ["mine"]})})
    assert data_to_judge(root, mine, ["dataset.voc={test: [mine]}"], "test")[0].voc.test == ["mine"]
    named = default_params().dataset
    named = named.model_copy(update={"kitti": named.kitti.model_copy(update={"classes": ["pear"]})})
    assert data_to_judge(root, named, ["dataset.kitti.classes=[pear]"], "test")[0].kitti.classes == ["pear"]


def test_a_split_that_is_named_is_judged_whichever_reader_params_yaml_has(tmp_path: Path) -> None:
    PUBLIC["YOLO of Ultralytics, coco8"].write(tmp_path)
    layout = layouts_of(tmp_path, default_params().dataset, "yolo")[0]
    (train,) = layout.splits["train"]
    for reader in ("voc", "coco", "yolo"):
        own = default_params().dataset.model_copy(update={"reader": reader})
        for place in (train, "absent"):
            own = own.model_copy(update={"yolo": own.yolo.model_copy(update={"test": [place]})})
            for more in ([], ["dataset.reader=auto"]):
                overrides = [f"dataset.yolo.test=[{place}]", *more]
                params, _ = data_to_judge(tmp_path, own, overrides, "test")
                assert (params.reader, params.yolo.test, params.yolo.train) == ("yolo", [place], [])
        with pytest.raises(InputError, match="absent"):
            list(read_dataset(tmp_path, params).images)
