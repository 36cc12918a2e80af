"""By which layout a detector is judged on a data set of its own, and on which images."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.datasets.reading import read_dataset
from pipeline.presets.apply import preset_params
from pipeline.presets.data_layout import data_to_judge
from pipeline.runtime.errors import InputError
from tests.data_layouts.public import PUBLIC
from tests.defaults import default_params
from tests.presets import odd_trees


@pytest.mark.parametrize("name", PUBLIC)
def test_a_detector_is_judged_on_the_test_split_of_any_layout(name: str, tmp_path: Path) -> None:
    PUBLIC[name].write(tmp_path)
    for defaults in (default_params().dataset, preset_params("tinycoco").dataset):
        params, line = data_to_judge(tmp_path, defaults, [], "test")
        images = list(read_dataset(tmp_path, params).images)
        expected = PUBLIC[name].read(tmp_path)["test"]
        assert {image.file.removeprefix("raw/") for image in images} == {*expected}
        assert {image.split for image in images} == {"test"}
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
