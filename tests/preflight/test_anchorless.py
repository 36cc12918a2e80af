"""Images without an anchor that may be used are told of, with the size that they have when resized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from pipeline.datasets.base import Split
from pipeline.families.faster_rcnn.check_data import any_anchor
from pipeline.geometry.backbones import VGG16
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.params.anchors import AnchorParams
from pipeline.params.file import load_params
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.anchorless import without_anchors
from pipeline.preflight.collecting import Checked, DatasetBoxes, check_dataset
from tests.conftest import ROOT

ANCHORS = AnchorParams(base_size=16.0, ratios=[1.0], scales=[2.0])


def lines(sizes: dict[tuple[Split, int, int], int], border: float | None) -> list[str]:
    nothing = DatasetBoxes(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, bool))  # type: ignore[arg-type]
    checked = Checked((), {"train": 14}, {}, nothing, [], {}, {}, [], [], True, sizes=sizes)
    return list(without_anchors(checked, ANCHORS, Placement(VGG16.layout(TrunkSettings()), border)))


def test_images_thinner_than_a_stride_and_without_anchors_are_counted() -> None:
    sizes: dict[tuple[Split, int, int], int] = {
        ("train", 12, 1000): 2,
        ("test", 900, 3): 1,
        ("train", 31, 1000): 4,
        ("train", 48, 1000): 8,
    }
    thin, none = lines(sizes, 0.0)
    assert thin.startswith("  3 images are thinner than one stride (16 px) when resized, such as 3 x 900 px: ")
    assert none.startswith("  no anchor may be used in 6 of 14 train images, such as one of 1000 x 12 px: ")
    assert len(lines(sizes, None)) == 1
    assert lines({("train", 48, 1000): 8, ("test", 31, 31): 1}, 0.0) == []
    assert lines({}, 0.0) == []


def test_an_anchor_at_another_scale_is_one_that_the_rpn_learns_from() -> None:
    nothing = DatasetBoxes(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0, bool))  # type: ignore[arg-type]
    checked = Checked((), {"train": 1}, {}, nothing, [], {}, {}, [], [], True, sizes={("train", 20, 20): 1})
    params = load_params(ROOT / "params.yaml")
    params.anchors, params.rpn = ANCHORS, params.rpn.model_copy(update={"images_without_gt": "background"})
    params.backbone = params.backbone.model_copy(update={"name": "vgg16"})
    assert not any_anchor(checked, params)
    assert any_anchor(replace(checked, extra_sizes={(True, 200, 200): 1}), params)


def test_an_image_that_is_named_as_a_view_of_another_is_refused_before_it_is_resized(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "a.mirrored"):
        cv2.imwrite(str(tmp_path / f"JPEGImages/{name}.jpg"), np.zeros((40, 60, 3), np.uint8))
        (tmp_path / f"Annotations/{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>60</width><height>40</height><depth>3</depth></size>"
            "<object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object>"
            "</annotation>"
        )
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\na.mirrored\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("")
    params = load_params(ROOT / "params.yaml")
    voc = params.dataset.voc.model_copy(update={"train": ["train"], "test": ["test"]})
    dataset = params.dataset.model_copy(update={"reader": "voc", "voc": voc})
    checked = check_dataset(tmp_path, dataset, params.resize)
    assert any("'a.mirrored' has the name of view 1 of image 'a'" in line for line in checked.faults)
