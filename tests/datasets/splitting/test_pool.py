"""Only what the defaults name may mean all images; anything else that is not there is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets.reading import read_dataset
from pipeline.datasets.splitting.pool import places_to_divide
from pipeline.params.dataset import DatasetParams
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.datasets.splitting.undivided import KINDS, NAMES, overlay, params, plant
from tests.defaults import default_content

TYPOS = {
    "voc": "trian",
    "coco": "annotations/instances_trian2017.json",
    "kitti": "trian",
    "yolo": "images/trian",
    "table": "trian",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_typo_in_train_does_not_divide_everything(tmp_path: Path, kind: str) -> None:
    plant(kind, tmp_path)
    changed: dict[str, Any] = overlay(kind, val=0.1, test=0.2)
    changed[kind] = {**changed[kind], "train": [TYPOS[kind]]}
    content = apply_overlay(default_content(), {"dataset": changed})
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path, DatasetParams.model_validate(content["dataset"]))
    line = str(caught.value)
    assert "\n" not in line and f"has nothing called {TYPOS[kind]}, as dataset.{kind}.train says; correct it" in line
    changed[kind]["train"] = [line.partition("set it to [")[2].partition("]")[0]]
    content = apply_overlay(default_content(), {"dataset": changed})
    assert len(read_dataset(tmp_path, DatasetParams.model_validate(content["dataset"])).division) == len(NAMES)


@pytest.mark.parametrize("name", ["._all.json", ".hidden.json", "annotations/._all.json"])
def test_what_systems_leave_beside_the_only_json_does_not_count(tmp_path: Path, name: str) -> None:
    plant("coco", tmp_path)
    (tmp_path / name).touch()
    assert places_to_divide(tmp_path, params("coco", test=0.2).coco) == ["annotations/all.json"]
