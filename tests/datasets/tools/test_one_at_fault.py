"""Exports of tools with one file that is damaged, duplicated or named differently on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.reading import read_dataset
from pipeline.runtime.errors import InputError
from tests.datasets.tools.exports import EXPORTS
from tests.datasets.tools.test_tools import read
from tests.defaults import default_params

_ANNOTATIONS = {"labelme": "*.json", "cvat": "*.xml", "openimages": "*-bbox.csv"}


def refusal(root: Path) -> str:
    """The line by which `frcnn preset` or the stage refuses what is there."""
    with pytest.raises(InputError) as caught:
        layout = recognise(root, default_params().dataset, divides=True)
        params = layout.params(default_params().dataset)
        list(
            read_dataset(
                root, params.model_copy(update={"split": params.split.model_copy(update={"test": 0.4})})
            ).images
        )
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("name", EXPORTS)
def test_photos_whose_suffix_is_in_capitals_are_found(name: str, tmp_path: Path) -> None:
    EXPORTS[name].write(tmp_path)
    for path in list(tmp_path.rglob("*.jpg")):
        path.rename(path.with_suffix(".JPG"))
    reader = recognise(tmp_path, default_params().dataset, divides=True).reader
    dataset = read(tmp_path, reader)
    assert sum(len(image.boxes) for image in dataset.images) == 6
    if reader != "openimages":  # which names no suffix
        assert {finding.kind for finding in dataset.findings} == {"file_name"}
        assert all("its capitals in another way" in finding.detail for finding in dataset.findings)


def test_names_that_differ_in_capitals_alone_are_two(tmp_path: Path) -> None:
    EXPORTS["labelme"].write(tmp_path)
    shutil.copy(tmp_path / "b.jpg", tmp_path / "a.JPG")
    shutil.copy(tmp_path / "b.jpg", tmp_path / "a.Jpg")
    (tmp_path / "a.jpg").unlink()
    assert "a.jpg: no such image" in refusal(tmp_path)


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[: len(data) // 2]], ids=["empty", "cut off"])
def test_a_damaged_file_is_named(name: str, spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    EXPORTS[name].write(tmp_path)
    file = sorted(tmp_path.rglob(_ANNOTATIONS.get(name, "*.json")))[0]
    file.write_bytes(spoil(file.read_bytes()))
    if name != "openimages" or not file.stat().st_size:  # a table that ends early in a row is one all the same
        assert file.name in refusal(tmp_path)


@pytest.mark.parametrize("name", ["cvat", "label_studio", "openimages"])
def test_an_export_that_is_there_twice_is_refused_for_that(name: str, tmp_path: Path) -> None:
    EXPORTS[name].write(tmp_path / "set")
    shutil.copytree(tmp_path / "set", tmp_path / "backup")
    shutil.move(tmp_path / "backup", tmp_path / "set/backup")
    assert "; write the path from the data root" in refusal(tmp_path / "set")


def test_cvats_format_for_videos_is_refused_for_what_it_is(tmp_path: Path) -> None:
    EXPORTS["cvat"].write(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotations><track id='0' label='car'></track></annotations>")
    assert "is CVAT's format for videos, without images; export it as CVAT for images 1.1" in refusal(tmp_path)


def test_labels_that_the_descriptions_do_not_name_are_refused(tmp_path: Path) -> None:
    EXPORTS["openimages"].write(tmp_path)
    file = tmp_path / "class-descriptions-boxable.csv"
    upper = file.rename(file.with_suffix(".CSV"))
    assert read(tmp_path, "openimages").classes == ("apple", "pear")
    upper.write_text("/m/014j1m,apple\n")
    assert f"{upper.name}: has no name of /m/061_f; complete it, or remove it" in refusal(tmp_path)
    upper.unlink()
    assert read(tmp_path, "openimages").classes == ("/m/014j1m", "/m/061_f")
