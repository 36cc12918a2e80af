"""Several images at once: with one, what the networks make of each alone; with more, the same but for the last bits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FeatureMaps, MapWriter
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages, held_out_images
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import load_trunk
from pipeline.dense.building import load_head as load_dense_head
from pipeline.dense.contract import DetectPart, detect_part, images_at_once
from pipeline.dense.network import DenseDetector
from pipeline.families.faster_rcnn.building import detection
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.feeding.views import ImageViews
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.postprocess import DetectedBoxes, to_original
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.family_part import family_part
from pipeline.runtime.variables import PROCESSES
from tests.e2e.fresh_run import change_params
from tests.e2e.mixed_sizes import COUNT, FOUR_STEPS, SCHEDULE, write_mixed_project
from tests.e2e.nearly_equal import assert_maps, assert_paired, detections_of, rows_of
from tests.fidelity.conftest import files_of
from tests.in_process import prepared, run_command, run_stage, run_stages, words_of
from tests.killed import Killed

DENSE: dict[str, dict[str, Any]] = {
    "retinanet": {"retinanet": {"channels": 32}, "resize": {"shorter_side": 48, "longer_side": 80}},
    "fcos": {"fcos": {"channels": 32}, "resize": {"shorter_side": 48, "longer_side": 80}},
    "ssd": {"resize": {"fixed_width": 64, "fixed_height": 48}},
}
CANDIDATES = {"retinanet": "per_level", "fcos": "per_level", "ssd": "per_class"}
SECTIONS = {
    "features": "features",
    "frozen_features": "features",
    "proposals_step1": "proposals",
    "detect_step2": "detect",
}


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to step 2, of images in two scales."""
    root = write_mixed_project(tmp_path_factory.mktemp("four_steps") / "project", "faster_rcnn", FOUR_STEPS)
    run_stages(root, "dataset", "backbone", "resize", "anchor_targets", "frozen_features", "train_rpn_step1")
    run_stages(root, "proposals_step1", "proposal_targets_step2", "train_head_step2", "features", "detect_step2")
    return root


@pytest.fixture(scope="module", params=list(DENSE))
def dense(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a dense family up to its detections, in a folder named after it."""
    family = request.param
    own = {
        **DENSE[family],
        f"train_{family}": {**SCHEDULE, "lr": 0.001},  # at which boxes stay large enough
        f"detect_{family}": {"score_threshold": 0.0, CANDIDATES[family]: 20},
    }
    root = write_mixed_project(tmp_path_factory.mktemp("dense") / family, family, own)
    run_stages(root, "dataset", "backbone", "resize", f"{family}_targets", f"train_{family}", f"detect_{family}")
    return root


def at_once(root: Path, name: str, count: int, out: Path) -> Path:
    """Run a stage on so many images at once into another folder."""
    section = SECTIONS.get(name, name)
    return run_stage(name, root, out, {section: {"images_at_once": count}})


@contextmanager
def batches() -> Iterator[list[int]]:
    """The number of images in each call of a trunk."""
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        trained = Trunk.trained

        def noted(self: Trunk, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(len(maps[0]))
            return trained(self, maps)

        patch.setattr(Trunk, "trained", noted)
        yield seen


def found_alone(images: ResizedImages, network: FasterRCNN | DenseDetector) -> Iterator[tuple[str, DetectedBoxes]]:
    """What a network finds in each image, given by itself, in pixels of the original image."""
    for info in images:
        views = ImageViews(images).load([Entry(info.image_id)])
        assert views.images is not None
        (found,) = network(views.images, [info.size], [info.scale])
        yield info.image_id, replace(found, boxes=to_original(found.boxes, info.scale, info.original_size))


def assert_alone(folder: Path, images: ResizedImages, network: FasterRCNN | DenseDetector) -> None:
    """Whether a stage's detections are, bit for bit, those of each image by itself."""
    of_images = detections_of(folder)
    assert sum(len(own["score"]) for own in of_images.values()) > COUNT
    for image_id, found in found_alone(images, network):
        stored = of_images[image_id]
        assert np.array_equal(stored["score"], found.scores.numpy())
        assert np.array_equal(stored["label"], found.labels.numpy())
        assert np.array_equal(stored["boxes"], found.boxes.numpy())


def test_by_default_each_view_goes_through_step_2s_trunk_alone(four_steps: Path) -> None:
    params, data = load_params(four_steps / "params.yaml"), four_steps / "data"
    trunk = load_trunk(data / "train_head_step2", params.backbone)
    images, stored = ResizedImages(data / "resize", "train"), FeatureMaps(data / "features")
    assert list(stored) == list(images.entries(mirror=True))
    for entry in list(stored)[:48]:
        views = ImageViews(images).load([entry])
        assert views.images is not None
        with torch.inference_mode():
            (level,) = trunk(trunk.normalise(views.images, views.sizes))
        assert np.array_equal(stored[entry][0], level[0].numpy())


def test_by_default_the_detections_are_those_of_each_image_alone(four_steps: Path) -> None:
    params, data = load_params(four_steps / "params.yaml"), four_steps / "data"
    trunk = load_trunk(data / "train_head_step2", params.backbone)
    rpn = load_rpn(data / "train_rpn_step1", trunk.layout, params.anchors, params.rpn)
    head = load_head(data / "train_head_step2", trunk.layout, params.roi_head, params.backbone)
    proposal_rule = detection.test_proposal_rule(params.detect, params.detect.proposals)
    rules = proposal_rule, detection.detection_rule(params.detect)
    # One network has one trunk: that of step 2 for both.
    shared = FasterRCNN(trunk, rpn, head, anchor_grid(params.anchors, trunk.layout), *rules)
    folder = run_stage("detect_step2", four_steps, four_steps / "shared", rpn_trunk=data / "train_head_step2")
    assert_alone(folder, held_out_images(data / "resize"), shared)


def test_by_default_a_dense_familys_detections_are_those_of_each_image_alone(dense: Path) -> None:
    family, data = dense.name, dense / "data"
    params, part = load_params(dense / "params.yaml"), detect_part(family_part(dense.name, "detect_dense"))
    trunk = load_trunk(data / f"train_{family}", params.backbone)
    head = load_dense_head(data / f"train_{family}", part, trunk.layout, 2, params)
    network = DenseDetector(trunk, head, part, params)
    assert_alone(data / f"detect_{family}", held_out_images(data / "resize"), network)


@pytest.mark.parametrize("count", [2, 4])
def test_detections_are_the_same_but_for_the_last_bits(four_steps: Path, tmp_path: Path, count: int) -> None:
    with batches() as seen:
        out = at_once(four_steps, "detect_step2", count, tmp_path / "out")
    assert max(seen) == count
    one = four_steps / "data/detect_step2"
    assert_paired(detections_of(one), detections_of(out))
    assert_paired(*(rows_of(folder / "proposals.parquet", PROPOSALS) for folder in (one, out)))
    assert_maps(one, out, 1e-3)


@pytest.mark.parametrize("count", [2, 4])
def test_a_dense_familys_detections_are_the_same_but_for_the_last_bits(dense: Path, tmp_path: Path, count: int) -> None:
    name = f"detect_{dense.name}"
    with batches() as seen:
        out = at_once(dense, name, count, tmp_path / "out")
    assert max(seen) == count
    assert_paired(detections_of(dense / "data" / name), detections_of(out))
    assert_maps(dense / "data" / name, out, 1e-3)


@pytest.mark.parametrize(("name", "views"), [("frozen_features", 2), ("features", 2), ("proposals_step1", 2)])
def test_maps_and_proposals_are_the_same_but_for_the_last_bits(
    four_steps: Path, tmp_path: Path, name: str, views: int
) -> None:
    with batches() as seen:
        out = at_once(four_steps, name, 3, tmp_path / "out")
    one = four_steps / "data" / name
    assert_maps(one, out, 1e-3)
    if name == "proposals_step1":
        assert_paired(*(rows_of(folder / "proposals.parquet", PROPOSALS) for folder in (one, out)))
    if name != "frozen_features":
        assert max(seen) == 3 * views


@pytest.mark.parametrize("name", ["features", "proposals_step1", "detect_step2"])
@pytest.mark.parametrize("after", [10, 65])
def test_a_run_that_resumes_leaves_the_bytes_of_one_that_was_not_stopped(
    four_steps: Path, tmp_path: Path, name: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = at_once(four_steps, name, 4, tmp_path / "whole"), tmp_path / "resumed"
    changes = {SECTIONS[name]: {"images_at_once": 4}}
    work, stage = prepared(name, four_steps, out, changes)
    added: list[object] = []
    add = MapWriter.add

    def add_some(self: MapWriter, maps: Any, size: tuple[int, int]) -> None:
        added.extend({entry.image_id for entry in maps} - set(added))
        if len(added) > after:
            raise Killed
        add(self, maps, size)

    monkeypatch.setattr(MapWriter, "add", add_some)
    with pytest.raises(Killed):
        work(stage)
    monkeypatch.setattr(MapWriter, "add", add)
    work, stage = prepared(name, four_steps, out, changes)
    work(stage)
    resumed, expected = files_of(out), files_of(whole)
    del expected["manifest.json"]
    assert resumed == expected


@pytest.mark.parametrize("dense", ["retinanet"], indirect=True)
def test_two_processes_leave_the_bytes_of_one(dense: Path, tmp_path: Path) -> None:
    root = shutil.copytree(dense, tmp_path / "project", symlinks=True)
    assert_equal_in_processes(root, "detect_retinanet")


@pytest.mark.long
@pytest.mark.parametrize("name", ["features", "proposals_step1", "detect_step2"])
def test_two_processes_leave_the_bytes_of_one_in_the_four_steps(four_steps: Path, tmp_path: Path, name: str) -> None:
    root = shutil.copytree(four_steps, tmp_path / "project", symlinks=True)
    assert_equal_in_processes(root, name)


def assert_equal_in_processes(root: Path, name: str) -> None:
    """Whether a stage leaves equal bytes in one process and in two, of four images at once."""
    change_params(root, {SECTIONS.get(name, name): {"images_at_once": 4}})
    written = []
    for count in (1, 2):
        words, folder = words_of(root, name), root / f"of_{count}" / name
        words[words.index("--out") + 1] = str(folder)
        at = words.index("--code")
        del words[at : at + 2]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PROCESSES, str(count))
            ended = run_command(root, *words)
        assert ended.returncode == 0, ended.stderr
        written.append(files_of(folder))
    assert written[0] == written[1]


def test_a_family_whose_sections_say_nothing_of_it_takes_one_image_at_once() -> None:
    part = cast(DetectPart, SimpleNamespace(SECTIONS={"points": object, "detect_points": object}))
    assert images_at_once(cast(Params, SimpleNamespace(sections=dict)), part) == 1
