"""torchvision's published detectors through our stages: what is run, and what is said of its AP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork

from benchmarks.published import V1, V2, verdict, version_of, with_first_names
from benchmarks.published_project import graph, link_images, settings_of
from pipeline.building.layout import map_layout
from pipeline.params.backbone import BackboneParams
from pipeline.runtime.errors import InputError


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder as COCO's, of one image."""
    folder = tmp_path / "coco"
    (folder / "images/val2017").mkdir(parents=True)
    (folder / "images/val2017/1.jpg").write_bytes(b"jpeg")
    (folder / "annotations").mkdir()
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "car"}]}
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return folder


def metrics(ap: float, images: int = 5000) -> dict[str, float]:
    return {"AP": ap, "images": images}


@pytest.mark.parametrize(
    ("version", "ap", "fits"), [(V1, 0.369, True), (V1, 0.3711, False), (V2, 0.466, True), (V2, 0.37, False)]
)
def test_an_ap_fits_within_a_tenth_of_a_point(version: str, ap: float, fits: bool) -> None:
    line, own = verdict(version, metrics(ap), is_random=False)
    assert own is fits and ("within" in line) is fits and "\n" not in line


def test_a_part_of_val2017_is_not_compared() -> None:
    line, fits = verdict(V1, metrics(0.37, 6), is_random=False)
    assert not fits and "on 6 images; the published one is of 5,000" in line
    assert verdict(V1, metrics(0.0, 6), is_random=True)[1]


def test_the_graph_has_no_training_and_lacks_nothing() -> None:
    stages = yaml.safe_load(graph())["stages"]
    assert list(stages) == ["code", "dataset", "backbone", "resize", "detect", "evaluate"]
    made = {Path(path) for stage in stages.values() for out in stage["outs"] for path in out}
    folders = made | {path.parent for path in made}
    linked = {Path("data/raw"), Path("data/weights"), Path("data/initial_detector")}
    for stage in stages.values():
        assert {Path(path) for path in stage.get("deps", [])} <= folders | linked
        paths = {Path(word) for word in stage["cmd"].split() if word.startswith("data/")}
        assert paths <= folders | linked
    assert all(out[path] == {"cache": False} for stage in stages.values() for out in stage["outs"] for path in out)


def test_the_images_are_linked_beside_one_to_train_on(coco: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a second start finds its links
        link_images(coco, tmp_path / "images")
    assert (tmp_path / "images/val2017/1.jpg").read_bytes() == b"jpeg"
    train = json.loads((tmp_path / "images/annotations/instances_train2017.json").read_text())
    assert [image["file_name"] for image in train["images"]] == ["blank.png"]
    val = json.loads((tmp_path / "images/annotations/instances_val2017.json").read_text())
    names = {category["id"]: category["name"] for category in val["categories"]}
    assert train["categories"] == val["categories"] and list(names) == list(range(1, 91))  # as torchvision's rows
    assert (names[3], names[12]) == ("car", "none 12")
    assert (tmp_path / "images/train2017/blank.png").stat().st_size


def test_what_lacks_is_named_in_one_line(coco: Path, tmp_path: Path) -> None:
    (coco / "annotations/instances_val2017.json").unlink()
    with pytest.raises(InputError, match=r"has no annotations/instances_val2017\.json; give the folder"):
        link_images(coco, tmp_path / "images")
    (coco / "annotations/instances_val2017.json").write_text("[]")
    with pytest.raises(InputError, match=r"instances_val2017\.json: is no instances file") as error:
        link_images(coco, tmp_path / "images")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="has no val2017; give the folder"):
        link_images(tmp_path, tmp_path / "images")


def test_a_file_says_which_detector_it_is(tmp_path: Path) -> None:
    file, scores = tmp_path / "weights.pth", "roi_heads.box_predictor.cls_score.weight"
    torch.save({scores: torch.zeros(1)}, file)
    assert version_of(file) == V1
    torch.save({scores: torch.zeros(1), "backbone.fpn.inner_blocks.0.1.weight": torch.zeros(1)}, file)
    assert version_of(file) == V2
    torch.save({"fc.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="holds no Faster R-CNN of torchvision's"):
        version_of(file)
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match="is not a weights file") as error:
        version_of(file)
    assert "\n" not in str(error.value)


def test_the_first_names_are_those_that_torchvision_still_reads() -> None:
    def parts() -> nn.Module:
        fpn, head = FeaturePyramidNetwork([4, 8], 4), RPNHead(4, 3)
        return nn.ModuleDict({"backbone": nn.ModuleDict({"fpn": fpn}), "rpn": nn.ModuleDict({"head": head})})

    own, other = parts(), parts()
    state = with_first_names(own.state_dict())
    assert {"backbone.fpn.inner_blocks.1.weight", "rpn.head.conv.bias"} <= state.keys()
    other.load_state_dict(state)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in own.state_dict().items())


def test_the_settings_of_v1_are_torchvisions() -> None:
    content = yaml.safe_load(settings_of(is_v2=False))
    layout = map_layout(BackboneParams(**content["backbone"]))
    assert [level.stride for level in layout.levels] == [4, 8, 16, 32, 64]
    assert (content["backbone"]["norm_epsilon"], content["backbone"]["size_divisible"]) == (0.0, 32)
    assert content["anchors"]["placement"] == "torchvision" and content["init"]["detector"] == "file"


def test_the_settings_of_v2_are_torchvisions() -> None:
    """Norms in the neck, two convolutions in the RPN, and four in the RoI head before its one fc."""
    content = yaml.safe_load(settings_of(is_v2=True))
    assert content["backbone"]["neck"] == {"name": "fpn", "channels": 256, "norm": "batch"}
    assert (content["rpn"]["depth"], content["roi_head"]["kind"]) == (2, "convs")
    assert content["backbone"]["norm_epsilon"] == 1e-5
