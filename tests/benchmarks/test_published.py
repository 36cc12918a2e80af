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

from benchmarks.published import detector_of, verdict, with_first_names
from benchmarks.published_models import DETECTORS
from benchmarks.published_project import graph, link_images, settings_of
from pipeline.building.layout import map_layout
from pipeline.building.needs import check_needs
from pipeline.building.published import published_detector
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
    ("name", "ap", "fits"),
    [
        ("fasterrcnn", 0.369, True),
        ("fasterrcnn", 0.3711, False),
        ("fasterrcnn_v2", 0.466, True),
        ("fasterrcnn_v2", 0.37, False),
        ("ssd300", 0.2519, True),
    ],
)
def test_an_ap_fits_within_a_tenth_of_a_point(name: str, ap: float, fits: bool) -> None:
    line, own = verdict(name, metrics(ap), is_random=False)
    assert own is fits and ("within" in line) is fits and "\n" not in line


def test_a_part_of_val2017_is_not_compared() -> None:
    line, fits = verdict("fcos", metrics(0.37, 6), is_random=False)
    assert not fits and "on 6 images; the published one is of 5,000" in line
    assert verdict("fcos", metrics(0.0, 6), is_random=True)[1]


@pytest.mark.parametrize("name", ["fasterrcnn", "retinanet", "fcos", "ssd300"])
def test_the_graph_has_no_training_and_lacks_nothing(name: str) -> None:
    stages = yaml.safe_load(graph(DETECTORS[name]))["stages"]
    last = DETECTORS[name].network
    assert list(stages) == ["code", "dataset", "backbone", "resize", f"detect_{last}", f"evaluate_{last}"]
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
    with pytest.raises(InputError, match=r"instances_val2017\.json: is not an instances file") as error:
        link_images(coco, tmp_path / "images")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="has no val2017; give the folder"):
        link_images(tmp_path, tmp_path / "images")


@pytest.mark.parametrize("name", DETECTORS)
def test_a_file_says_which_detector_it_is(tmp_path: Path, name: str) -> None:
    with torch.device("meta"):  # drawing weights takes seconds
        shapes = DETECTORS[name].builder(weights=None, weights_backbone=None).state_dict()
    state = {key: torch.zeros(()).expand(own.shape) for key, own in shapes.items()}
    torch.save(state, tmp_path / "weights.pth")
    assert detector_of(tmp_path / "weights.pth") == name


def test_a_file_of_anything_else_ends_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="holds none of torchvision's detectors"):
        detector_of(file)
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match="is not a weights file") as error:
        detector_of(file)
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


@pytest.mark.parametrize(
    ("name", "strides", "epsilon"),
    [
        ("fasterrcnn", [4, 8, 16, 32, 64], 0.0),
        ("fasterrcnn_v2", [4, 8, 16, 32, 64], 1e-5),
        ("retinanet", [8, 16, 32, 64, 128], 0.0),
        ("retinanet_v2", [8, 16, 32, 64, 128], 1e-5),
        ("fcos", [8, 16, 32, 64, 128], 1e-5),
        ("ssd300", [8, 16, 32, 64, 100, 300], 1e-5),
    ],
)
def test_the_settings_are_torchvisions(name: str, strides: list[int], epsilon: float) -> None:
    content = yaml.safe_load(settings_of(DETECTORS[name]))
    backbone = BackboneParams(**content["backbone"])
    assert list(map_layout(backbone).strides) == strides
    assert backbone.norm_epsilon == epsilon and content["init"]["detector"] == "file"
    assert backbone.size_divisible == (1 if name == "ssd300" else 32)


def test_the_settings_of_v2_are_torchvisions() -> None:
    """Norms in the neck, two convolutions in the RPN, and four in the RoI head before its one fc."""
    content = yaml.safe_load(settings_of(DETECTORS["fasterrcnn_v2"]))
    assert content["backbone"]["neck"]["norm"] == "batch"
    assert (content["rpn"]["depth"], content["roi_head"]["kind"]) == (2, "convs")


@pytest.mark.parametrize("name", ["retinanet", "retinanet_v2", "fcos", "ssd300"])
def test_the_settings_are_what_the_weights_need(name: str) -> None:
    with torch.device("meta"):
        shapes = DETECTORS[name].builder(weights=None, weights_backbone=None).state_dict()
    found = published_detector({key: torch.zeros(()).expand(own.shape) for key, own in shapes.items()}, "x")
    content = yaml.safe_load(settings_of(DETECTORS[name]))
    assert found is not None
    check_needs(found.needs, BackboneParams(**content["backbone"]), "x")
    for key, value in found.needs.others.items():
        section, own = key.split(".")
        assert content[section][own] == value
