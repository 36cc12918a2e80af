"""An image in its views, plain, mirrored, at another scale and that mirrored, from resize to training and inspect."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pipeline import cli
from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.graphs.command import StageCommand
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.training.run import entries_of, epoch_order
from pipeline.views.metrics import metrics_of
from tests.conftest import TINY, Project, new_project
from tests.in_process import run_stages

SIDES = (96, 128)
STAGES = (
    *("dataset", "backbone", "resize", "frozen_features", "anchor_targets", "train_rpn_step1", "proposals_step1"),
    *("proposal_targets_step2", "train_head_step2", "features", "train_rpn_step3"),
)
IMAGES = 3


def project_of(root: Path, changes: dict[str, Any]) -> Project:
    """Three training images, seen at a shorter side of 96 and of 128 px."""
    schedule = {"iterations": 2, "images_per_iteration": 3, "lr_drop_at": []}
    own: dict[str, Any] = {
        **{"dataset": {"shapes": {"train": IMAGES, "test": 2, "image_size": 192, "max_objects": 4}}},
        **{"backbone": {"weights": "random"}, "resize": {"shorter_side": SIDES[0], "extra_sides": [SIDES[1]]}},
        **dict.fromkeys(("train_rpn_step1", "train_head_step2", "train_rpn_step3"), schedule),
    }
    return new_project(root, {**TINY, **own, **changes})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The stages up to step 3, with mirrored images' proposals computed anew."""
    made = project_of(tmp_path_factory.mktemp("views") / "project", {})
    run_stages(made.root, *STAGES)
    return made


ENTRIES = [Entry(f"train_{image:05d}", view) for image in range(IMAGES) for view in (0, 1, 2, 3)]


def test_resize_stores_each_scale_once_and_boxes_scale_and_turn_with_it(project: Project) -> None:
    images, gt = ResizedImages(project.data / "resize", "train"), GroundTruth(project.data / "resize")
    assert (len(images), images.views(True), images.views(False)) == (IMAGES, (0, 1, 2, 3), (0, 2))
    assert list(images.entries(True)) == ENTRIES
    assert images.described(True) == f"{IMAGES} images at 2 scales and their mirrors"
    assert ResizedImages(project.data / "resize", "test").views(True) == (0, 1)
    for image in images:
        shown = [Entry(image.image_id, view) for view in (0, 1, 2, 3)]
        pixels, sizes = [images.pixels(entry) for entry in shown], [images.seen(entry).size for entry in shown]
        assert [min(size) for size in sizes] == [SIDES[0], SIDES[0], SIDES[1], SIDES[1]]
        assert [own.shape[:2] for own in pixels] == sizes
        for plain, mirrored in ((0, 1), (2, 3)):
            np.testing.assert_array_equal(pixels[mirrored], pixels[plain][:, ::-1])
        smaller = cv2.resize(pixels[2], sizes[0][::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(smaller.astype(int) - pixels[0]).mean() < 12
        boxes = [gt.boxes(entry, size[1]) for entry, size in zip(shown, sizes, strict=True)]
        ratio = np.array(images.seen(shown[2]).scale * 2) / np.array(images.seen(shown[0]).scale * 2)
        np.testing.assert_allclose(boxes[2], boxes[0] * ratio, rtol=1e-5)
        np.testing.assert_allclose(boxes[3][:, 0], sizes[2][1] - boxes[2][:, 2], rtol=1e-5)
        assert len(boxes[0]) == len(gt[image.image_id][1]) > 0


def test_targets_maps_and_proposals_have_rows_of_every_view_in_its_own_pixels(project: Project) -> None:
    images, gt = ResizedImages(project.data / "resize", "train"), GroundTruth(project.data / "resize")
    anchors, proposals = (
        AnchorTargets(project.data / "anchor_targets"),
        StoredProposals(project.data / "proposals_step1"),
    )
    targets, maps = ProposalTargets(project.data / "proposal_targets_step2"), FeatureMaps(project.data / "features")
    assert list(maps) == ENTRIES
    objectness = FeatureMaps(project.data / "proposals_step1")
    for entry in ENTRIES:
        height, width = images.seen(entry).size
        assert maps.size(entry) == (height, width)
        (features,), (own_objectness,), cells = maps[entry], objectness[entry], (height // 8, width // 8)
        assert anchors[entry].feature_size == features.shape[1:] == own_objectness.shape == cells
        assert anchors[entry].anchors == 12 * (height // 8) * (width // 8)
        own = proposals[entry]
        assert len(own) > 0
        assert own.boxes.min() >= 0 and (own.boxes[:, 2:] <= [width, height]).all()
        appended = targets[entry].boxes[targets[entry].ranks == -1]
        np.testing.assert_array_equal(appended, gt.boxes(entry, width))
        np.testing.assert_array_equal(targets[entry].boxes[: len(own)], own.boxes)
    # Of a larger image other proposals are made, and others of a mirror, as all are computed anew.
    first = [proposals[entry].scores.tolist() for entry in ENTRIES[:4]]
    assert len({tuple(scores) for scores in first}) == 4


def test_training_goes_through_all_views(project: Project) -> None:
    params = load_params(project.root / "params.yaml")
    sizes = entries_of(ResizedImages(project.data / "resize", "train"), mirror=True)
    assert list(sizes) == ENTRIES
    order = epoch_order(sizes, params.train_rpn_step1, 0, "train_rpn_step1")
    drawn = [entry for iteration in range(4) for entry in order(iteration)[1]]
    assert sorted(drawn) == ENTRIES
    for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3"):
        history = np.genfromtxt(project.data / stage / "history.csv", delimiter=",", names=True)
        assert np.isfinite(np.atleast_1d(history)["loss"]).all()


@pytest.mark.parametrize("name", ["train_00001", "train_00001.mirrored", "train_00001.view2", "train_00001.view3"])
def test_inspect_draws_every_view(project: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(project.root)
    for stage in ("resize", "anchor_targets", "proposals_step1", "proposal_targets_step2", "features"):
        result = CliRunner().invoke(cli.app, ["inspect", stage, "--image", name, "--out", "picture.png"])
        assert result.exit_code == 0, result.output
        assert cv2.imread("picture.png") is not None


@pytest.mark.parametrize(
    ("stage", "name", "told"),
    [
        ("resize", "train_00001.view4", "is not stored at so many scales"),
        ("resize", "test_00001.view2", "is not stored at so many scales"),
        ("dataset", "train_00001.view2", "has no mirrors and no further scales; name it train_00001"),
    ],
)
def test_a_view_that_is_not_there_is_refused_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, stage: str, name: str, told: str
) -> None:
    monkeypatch.chdir(project.root)
    result = CliRunner().invoke(cli.app, ["inspect", stage, "--image", name])
    assert isinstance(result.exception, InputError) and told in str(result.exception)


def test_figures_count_images_once_and_views_each(project: Project) -> None:
    wiring = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"]
    figures = {
        stage: metrics_of(StageCommand.parse(wiring[stage]["cmd"]), project.root)
        for stage in ("resize", "anchor_targets", "proposals_step1", "features")
    }
    assert figures["resize"]["images"] == IMAGES + 2
    assert figures["anchor_targets"]["images"] == figures["proposals_step1"]["images"] == IMAGES
    assert figures["features"]["maps"] == 4 * IMAGES
    proposals = StoredProposals(project.data / "proposals_step1")
    assert figures["proposals_step1"]["proposals_per_image"] == pytest.approx(len(proposals) / (4 * IMAGES))


def test_mirrored_proposals_are_mirrored_at_every_scale(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "project")
    shutil.copytree(project.root, other.root, symlinks=True)
    other.set_params({"proposals": {"mirrored": "mirrored"}})
    shutil.rmtree(other.data / "proposals_step1")
    run_stages(other.root, "proposals_step1")
    images, proposals = ResizedImages(other.data / "resize", "train"), StoredProposals(other.data / "proposals_step1")
    assert sorted(FeatureMaps(other.data / "proposals_step1")) == [entry for entry in ENTRIES if not entry.mirrored]
    for entry in (own for own in ENTRIES if not own.mirrored):
        plain, mirrored = proposals[entry], proposals[entry.mirror]
        np.testing.assert_array_equal(plain.scores, mirrored.scores)
        np.testing.assert_allclose(mirrored.boxes[:, 0], images.seen(entry).size[1] - plain.boxes[:, 2], rtol=1e-6)
