"""Layouts of tools and public data sets are recognised, and their boxes are those of an independent reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data_layouts.recognising import recognise
from pipeline.datasets.reading import read_dataset
from tests.data_layouts.photos import Found
from tests.data_layouts.public import PUBLIC
from tests.defaults import default_params


@pytest.mark.parametrize("name", PUBLIC)
def test_the_boxes_are_those_of_an_independent_reading(name: str, tmp_path: Path) -> None:
    write, read, reader = PUBLIC[name]
    write(tmp_path)
    defaults = default_params().dataset
    layout = recognise(tmp_path, defaults)
    assert layout.reader == reader
    dataset = read_dataset(tmp_path, layout.params(defaults))
    found: dict[str, Found] = {}
    for image in dataset.images:
        boxes = [
            (dataset.classes[label - 1], *box)
            for label, box in zip(image.labels.tolist(), image.boxes.tolist(), strict=True)
        ]
        found.setdefault(image.split, {})[image.file.removeprefix("raw/")] = boxes
    expected = read(tmp_path)
    assert sum(len(boxes) for files in expected.values() for boxes in files.values()) == 6
    assert {split: {file: len(boxes) for file, boxes in own.items()} for split, own in found.items()} == {
        split: {file: len(boxes) for file, boxes in own.items()} for split, own in expected.items()
    }
    for split, files in expected.items():
        for file, boxes in files.items():
            for (mine, *corners), (theirs, *others) in zip(found[split][file], boxes, strict=True):
                assert mine == theirs and corners == pytest.approx(others, abs=1e-4), (split, file)
    assert sorted(dataset.classes) == ["apple", "pear"]
    assert {finding.kind for finding in dataset.findings} <= {"no_label_file", "file_name", "table_form"}
