"""All that reads a layout runs on a trunk of three levels, of strides 6, 12 and 24."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps, MapWriter
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep, rpn_losses_at_cells, rpn_step_losses
from pipeline.feeding.maps import maps_of
from pipeline.feeding.views import ImageViews, MapViews, Views
from pipeline.geometry.anchors import grid_anchors, grid_centres, grid_shapes
from pipeline.geometry.layout import Level, MapLayout
from pipeline.params.file import load_params
from pipeline.preflight.command import check_data
from pipeline.runtime.errors import InputError
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.levels import pooled_from
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from pipeline.views.stored_anchors import decode_anchors
from tests.conftest import apply_overlay
from tests.defaults import default_content
from tests.faults.trees import plant
from tests.in_process import run_stage
from tests.layouts import PYRAMID, TOY, ToyTrunk, one_level, register_toy
from tests.views.scene import HEIGHT, WIDTH, gt_boxes, write_scene

SIZES = ((10, 16), (5, 8), (2, 4))
"""Of an image of the scene, 96 x 64 px."""


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    register_toy(monkeypatch)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A project folder whose anchor_targets are of the toy's levels."""
    root = write_scene(tmp_path)
    data, content = root / "data", yaml.safe_load((root / "params.yaml").read_text())
    content["anchors"]["scales"] = [1.0]
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    write_manifest(data / "resize", "resize")
    shutil.rmtree(data / "anchor_targets")
    run_stage("anchor_targets", root)
    return root


@pytest.mark.parametrize("size", [(5, 100), (100, 23), (24, 24), (7, 13), (47, 50)])
def test_a_layout_has_the_sizes_of_the_maps_also_of_what_is_thinner_than_a_stride(size: tuple[int, int]) -> None:
    trunk = ToyTrunk()
    maps = trunk(torch.zeros(1, 3, *size))
    assert tuple(tuple(level.shape[2:]) for level in maps) == TOY.sizes(*size)


def test_a_layout_of_no_levels_or_of_strides_that_do_not_ascend_is_refused() -> None:
    for levels in ((), (Level(12, 4), Level(6, 4)), (Level(6, 4), Level(6, 4))):
        with pytest.raises(ValueError, match="give"):
            MapLayout(levels)


def test_a_trunk_whose_maps_are_not_those_of_its_layout_is_refused() -> None:
    trunk, views = ToyTrunk(), Views([], [(48, 48)], torch.zeros(1, 3, 48, 48))
    assert len(maps_of(trunk, views)) == 3
    for levels in ((Level(6, 4), Level(12, 4)), (*TOY.levels[:2], Level(48, 4)), (*TOY.levels[:2], Level(24, 8))):
        trunk.layout = MapLayout(levels)
        with pytest.raises(InputError, match="its layout says"):
            maps_of(trunk, views)


def test_targets_of_the_stage_are_those_of_all_levels_anchors(scene: Path) -> None:
    params, targets = load_params(scene / "params.yaml"), AnchorTargets(scene / "data/anchor_targets")
    per_location = len(params.anchors.ratios) * len(params.anchors.scales)
    first, second, third = (height * width * per_location for height, width in SIZES)
    for entry, gt in ((Entry("a"), gt_boxes("a")), (Entry("a", 1), gt_boxes("a", mirrored=True))):
        own = targets[entry]
        assert own.anchors == first + second + third
        # Of 16 px on the first level, 32 px on the second, 64 px on the third; gt boxes have 32 and 36 px.
        assert len(own.fg) and ((own.fg >= first) & (own.fg < first + second)).all()
        shapes = grid_shapes(32, params.anchors.ratios, [1.0])
        anchors = grid_anchors(grid_centres(SIZES, 1, TOY), shapes)[own.fg - first]
        np.testing.assert_allclose(decode_anchors(own.deltas, gt[own.matched_gt]), anchors, atol=1e-3)
        assert own.bg.min() < first <= own.bg.max() < first + second, "those of 64 px stick out of the image"


def gradients(step: nn.Module, batch: Batch) -> list[Tensor]:
    step.zero_grad()
    sum(step(batch).values()).backward()  # type: ignore[union-attr]
    return [weight.grad.clone() for weight in step.parameters() if weight.grad is not None]


def test_anchors_drawn_from_images_of_two_sizes_meet_their_own_outputs_in_padded_maps(scene: Path) -> None:
    params, draw = load_params(scene / "params.yaml"), torch.Generator().manual_seed(0)
    rpn = new_rpn(TOY, params.anchors, params.rpn)
    rpn.initialise(draw)
    step, sizes = RPNStep(rpn, params.rpn, None, TOY), [(HEIGHT, WIDTH), (90, 70)]
    maps = [[torch.randn(4, *cells, generator=draw) for cells in TOY.sizes(*size)] for size in sizes]
    samples = []
    for own in maps:
        count = sum(level[0].numel() for level in own) * rpn.per_location
        chosen = torch.randperm(count, generator=draw)[:40]
        samples.append(AnchorSample(chosen[:15], chosen[15:], torch.randn(15, 4, generator=draw)))

    def batch(which: list[int]) -> Batch:
        own = [[level.numpy() for level in maps[index]] for index in which]
        views = Views([Entry("a")] * len(which), [sizes[i] for i in which], maps=stacked(own))
        return Batch(views, [samples[i] for i in which], [], [], [], [0] * 3)

    both, first, second = (gradients(step, batch(which)) for which in ([0, 1], [0], [1]))
    for whole, one, other in zip(both, first, second, strict=True):
        torch.testing.assert_close(whole, (one + other) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2])
def test_losses_at_the_cells_of_the_drawn_anchors_are_those_of_whole_maps(scene: Path, depth: int) -> None:
    params, draw = load_params(scene / "params.yaml"), torch.Generator().manual_seed(0)
    own_params = params.rpn.model_copy(update={"depth": depth})
    rpn = new_rpn(TOY, params.anchors, own_params)
    rpn.initialise(draw)
    cells, found = TOY.sizes(HEIGHT, WIDTH), []
    maps = tuple(torch.randn(2, 4, *size, generator=draw).requires_grad_() for size in cells)
    # None of the last level, whose map has a gradient all the same.
    count = sum(high * wide for high, wide in cells[:-1]) * rpn.per_location
    chosen = [torch.randperm(count, generator=draw)[:40] for _ in range(2)]
    samples = [AnchorSample(own[:15], own[15:], torch.randn(15, 4, generator=draw)) for own in chosen]
    batch = Batch(Views([], [(HEIGHT, WIDTH)] * 2), samples, [], [], [], [])
    leaves = [*maps, *rpn.parameters()]
    for losses in (
        rpn_losses_at_cells(rpn, maps, batch, own_params, TOY),
        rpn_step_losses(*rpn(maps), batch, params=own_params, layout=TOY),
    ):
        found.append([*losses.values(), *torch.autograd.grad(sum(losses.values()), leaves)])  # type: ignore[arg-type]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def stacked(maps: list[list[np.ndarray]]) -> tuple[Tensor, ...]:
    """The maps of some images, padded with zeros to those of the largest."""
    levels = []
    for level in zip(*maps, strict=True):
        high, wide = (max(own.shape[axis] for own in level) for axis in (1, 2))
        padded = [np.pad(own, ((0, 0), (0, high - own.shape[1]), (0, wide - own.shape[2]))) for own in level]
        levels.append(torch.from_numpy(np.stack(padded)))
    return tuple(levels)


def test_proposals_and_objectness_are_of_all_levels_and_maps_are_stored_one_a_level(scene: Path) -> None:
    params, draw = load_params(scene / "params.yaml"), torch.Generator().manual_seed(0)
    trunk = new_trunk(params.backbone)
    trunk.initialise(draw)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    rpn.initialise(draw)
    entries = [Entry("a"), Entry("a", 1)]
    folder = scene / "maps"
    with torch.inference_mode(), ChunkedWork(folder, ["a"]) as work:
        writer = MapWriter(work, "maps", len(TOY.levels))
        maps = maps_of(trunk, ImageViews(ResizedImages(scene / "data/resize")).load(entries))
        for _ in work.through(work.missing):
            of_entries = zip(*(level.numpy() for level in maps), strict=True)
            writer.add(dict(zip(entries, of_entries, strict=True)), (HEIGHT, WIDTH))
        (found, _) = Proposer(rpn, anchor_grid(params.anchors, TOY), ProposalRule(-1, 1.0, 5000, 0.0))(
            maps, [(HEIGHT, WIDTH)] * 2, [(1.0, 1.0)] * 2
        )
    assert [level.shape for level in found.objectness] == list(SIZES)
    assert len(found.boxes) > SIZES[0][0] * SIZES[0][1]
    assert sorted(path.name for path in folder.glob("*.npz")) == [
        "maps-00000.npz",
        "maps_level1-00000.npz",
        "maps_level2-00000.npz",
    ]
    stored = FeatureMaps(folder)
    assert len(stored) == 2
    read = MapViews(stored).load(entries)
    assert read.maps is not None and read.sizes == [(HEIGHT, WIDTH)] * 2
    assert all(torch.equal(one, other) for one, other in zip(read.maps, maps, strict=True))


def test_inspect_shows_the_anchors_of_each_level(scene: Path) -> None:
    graph = read_declared_graph(scene)
    command = graph.commands["anchor_targets"]
    tiles = panels_of(command, scene, entry_of(command, scene, "a"), score=0.5, graph=graph)
    captions = [tile.caption for tile in tiles]
    for level, stride in enumerate((6, 12, 24)):
        high, wide = SIZES[level]
        own = [caption for caption in captions if f"level {level}, stride {stride}: " in caption]
        assert f"{wide} x {high} locations, {stride} px apart" in own[0]
        # Centres and a location; a level has panels of the kinds that it has some of, but not all are bg.
        kinds = [kind for kind in ("fg", "ignored", "bg") if any(f"{stride}: {kind}: " in each for each in own)]
        assert kinds == (["fg", "ignored", "bg"] if level == 1 else ["ignored", "bg"]), own
    fg = AnchorTargets(scene / "data/anchor_targets")[Entry("a")]
    (caption,) = [caption for caption in captions if "fg anchors of 2 gt boxes" in caption]
    assert f"; level 1, stride 12: {len(fg.fg)} fg anchors of gt 0, 1" in caption


def test_captions_say_from_which_levels_rois_are_pooled() -> None:
    sides = np.array([30.0, 100, 200, 800, 2000], np.float32)
    boxes = np.stack([sides * 0, sides * 0, sides, sides], axis=1)
    assert pooled_from(boxes, PYRAMID) == "level 0 (stride 4) 2, level 1 (stride 8) 1, level 3 (stride 32) 2"
    assert pooled_from(boxes, one_level(16)) == ""


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """A project folder of a ResNet-18 with a feature pyramid, of five levels, and torchvision's anchors."""
    root = write_scene(tmp_path)
    content = yaml.safe_load((root / "params.yaml").read_text())
    network = {"name": "resnet18", "weights": "random", "size_divisible": 32, "neck": {"name": "fpn"}}
    changed = {"backbone": network, "anchors": {"scales": [1.0], "placement": "torchvision"}}
    (root / "params.yaml").write_text(yaml.safe_dump(apply_overlay(content, changed)))
    write_manifest(root / "data/resize", "resize")
    return root


def captions_of(root: Path, stage: str, image_id: str) -> list[str]:
    graph = read_declared_graph(root)
    command = graph.commands[stage]
    return [
        tile.caption for tile in panels_of(command, root, entry_of(command, root, image_id), score=0.5, graph=graph)
    ]


@pytest.mark.parametrize(("stage", "image_id"), [("proposals_step3", "a"), ("detect_step4", "t")])
def test_inspect_shows_the_objectness_of_each_of_five_levels(pyramid: Path, stage: str, image_id: str) -> None:
    folder, sizes = pyramid / "data" / stage, PYRAMID.sizes(HEIGHT, WIDTH)
    (folder / "images.parquet").unlink()
    with ChunkedWork(folder, [image_id]) as work:
        writer = MapWriter(work, "objectness", len(sizes))
        for _ in work.through(work.missing):
            maps = [np.full(size, 0.1 * (level + 1), np.float16) for level, size in enumerate(sizes)]
            writer.add({Entry(image_id): maps}, (HEIGHT, WIDTH))
    captions = [caption for caption in captions_of(pyramid, stage, image_id) if "objectness" in caption]
    assert len(captions) == 5
    for level, (caption, (high, wide)) in enumerate(zip(captions, sizes, strict=True)):
        assert f"level {level}, stride {4 * 2**level}: objectness" in caption
        assert f"of each of {wide} x {high} locations; highest 0.{level + 1}0" in caption


def test_inspect_shows_the_anchors_of_each_of_five_levels_as_the_stage_has_placed_them(pyramid: Path) -> None:
    shutil.rmtree(pyramid / "data/anchor_targets")
    run_stage("anchor_targets", pyramid)
    captions = captions_of(pyramid, "anchor_targets", "a")
    for level, (high, wide) in enumerate(PYRAMID.sizes(HEIGHT, WIDTH)):
        own = [caption for caption in captions if f"level {level}, stride {4 * 2**level}: " in caption]
        # 96 px are padded to 96, of which P6 has two cells.
        apart = "48 x 64" if level == 4 else 4 * 2**level
        assert len(own) >= 2 and f"{wide} x {high} locations, {apart} px apart" in own[0]
    content = yaml.safe_load((pyramid / "params.yaml").read_text())
    (pyramid / "params.yaml").write_text(yaml.safe_dump(apply_overlay(content, {"anchors": {"placement": "centred"}})))
    with pytest.raises(InputError, match=r"has other anchors than params\.yaml;"):
        captions_of(pyramid, "anchor_targets", "a")


def test_check_data_judges_the_anchors_of_all_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = default_content()
    overlay = {"dataset": {"reader": "voc", "voc": {"train": ["train"], "test": ["test"]}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(apply_overlay(params, overlay)))
    plant("voc", tmp_path / "data/raw")
    lines: list[str] = []
    check_data(None, None, Path("check.png"), lines.append)
    assert any("a location, every 6 and 12 and 24 px" in line for line in lines)


def test_a_head_of_levels_takes_their_common_depth(scene: Path) -> None:
    params = load_params(scene / "params.yaml")
    head = new_head(TOY, 3, params.roi_head, params.backbone).eval()
    assert head.fc6.in_features == 4 * params.roi_head.output_size**2


def test_levels_of_different_depths_are_refused_by_heads_that_run_on_all_of_them_alone(scene: Path) -> None:
    layout, params = MapLayout((Level(6, 4), Level(12, 8))), load_params(scene / "params.yaml")
    assert layout.sizes(48, 48) == ((8, 8), (4, 4))
    made = {
        "RPN": lambda: new_rpn(layout, params.anchors, params.rpn),
        "RoI head": lambda: new_head(layout, 3, params.roi_head, params.backbone),
    }
    for head, make in made.items():
        with pytest.raises(InputError, match=rf"^backbone\.name: .* levels have 4, 8 channels, and the {head} runs on"):
            make()


def test_a_trunk_of_levels_of_different_depths_gives_its_maps() -> None:
    trunk, views = ToyTrunk(), Views([], [(48, 48)], torch.zeros(1, 3, 48, 48))
    trunk.layers[2] = nn.Conv2d(4, 8, 2, stride=2)
    trunk.layout = MapLayout((*TOY.levels[:2], Level(24, 8)))
    assert [level.shape[1] for level in maps_of(trunk, views)] == [4, 4, 8]
