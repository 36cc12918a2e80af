"""Time of training per image in steps 1 and 2, against torchvision's trunk with RPN and with RoI heads.

    python -m benchmarks.training_time [--steps 1 2] [--sides 300 600] [--runs 7]

Both train VGG16's conv3 to conv5 and the layers on top, fc6 and fc7 4096 wide, on the same photos in the same batches
of two, with 256 anchors or 64 RoIs an image; step 2 on the same stored proposals. Ours is the project's training loop:
it reads maps or images and targets from stored artifacts, draws samples, computes losses, goes backward, clips and
steps. What the peer does per iteration, and what is granted to it, `benchmarks.peer` says.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from torch import nn

from benchmarks.floors import head_training_flops, head_weight_bytes, rpn_training_flops
from benchmarks.measure import interleaved, measured_rates
from benchmarks.page import Row, write_section
from benchmarks.peer import PeerHead, PeerRPN, build_peer, decoded, peer_loop
from benchmarks.photos import Photos, parser, prepared
from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.proposals import StoredProposals
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import load_trunk, new_trunk
from pipeline.families.faster_rcnn.building.roi_head import pretrained_head
from pipeline.families.faster_rcnn.building.rpn import initial_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler, put_anchors_together
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.families.faster_rcnn.training.gt_source import GtSource
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.feeding.prefetching import prefetch
from pipeline.feeding.views import ImageViews, MapViews, ViewSource
from pipeline.params.schedule import Schedule
from pipeline.runtime.launcher import launch
from pipeline.runtime.stopping import end_with_parent
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.loop import train
from pipeline.training.run import epoch_order

NAME = "training_time"
ITERATIONS = {300: 3, 600: 2}
"""Of one run, two images each: short, as the machine's own pace changes within seconds."""
LR = 1e-3
CLASSES = 7
ABOUT = {
    1: """Milliseconds of training per image, median (least to largest) of {runs} runs in turn. Ours is the whole
iteration of the training loop: stored maps of the frozen conv1 and conv2 (`features.keep_frozen_stages`) and targets
read, anchors drawn, losses, backward pass, clipping, SGD; *from images* is ours without those maps. The peer is
torchvision's VGG16 with its RPN, given images that are decoded already. *As shipped* is float32; *same precision* has
our bf16 autocast, channels_last, fused SGD and clipping. conv1 and conv2 are frozen in all of them. The floor is the
floating point operations of the other layers, forward and backward, over the machine's measured rate in bf16
({rate:.2f} Tflop/s).""",
    2: """As above for step 2: RoIs are drawn, and the peer has torchvision's RoI heads on the same stored proposals;
{runs} runs in turn. To the floor, at {rate:.2f} Tflop/s, come the bytes that the weights of fc6 and fc7 must move at
{bandwidth:.0f} GB/s.""",
}


def loader_of(photos: Photos, stage: str, schedule: Schedule, source: ViewSource | None = None) -> BatchLoader:
    """Our loader of step 1, of step 2 or of joint training, of images where no other source is given."""
    params, seed = photos.params, photos.params.base.seed
    order = epoch_order(photos.entries(), schedule, seed, stage)
    source = source or ImageViews(photos.images())
    if stage != "train_head_step2":
        targets = AnchorTargets(photos.data / "anchor_targets")
        anchors = AnchorSampler(targets, params.rpn.anchors_per_image, params.rpn.fg_fraction, seed, stage)
        trunk = new_trunk(params.backbone)
        grid = anchor_grid(params.anchors, trunk.layout)
        together = partial(put_anchors_together, layout=trunk.layout, per_location=grid.per_location)
        gt = GtSource(GroundTruth(photos.data / "resize"), photos.images()) if stage == "finetune_joint" else None
        return BatchLoader(order, source, seed, stage, anchors=anchors, put_together=together, gt=gt)
    assigned = ProposalTargets(photos.data / "proposal_targets_step2")
    rois = RoISampler(assigned, params.roi_head.rois_per_image, params.roi_head.fg_fraction, seed, stage)
    return BatchLoader(order, source, seed, stage, rois=rois)


def step_of(photos: Photos, stage: str) -> RPNStep | HeadStep | JointStep:
    """What step 1, step 2 or joint training trains, with fresh layers on ImageNet's trunk."""
    params, source = photos.params, photos.data / "backbone"
    trunk = load_trunk(source, params.backbone)
    generator = torch_generator(params.base.seed, stage, "top")
    if stage == "train_rpn_step1":
        rpn = initial_rpn(source, trunk.layout, params.anchors, params.rpn, generator)
        return RPNStep(rpn, params.rpn, trunk, trunk.layout)
    head = pretrained_head(source, trunk.layout, CLASSES, params.roi_head, params.backbone, generator)
    head.delta_std.copy_(torch.tensor([0.1, 0.1, 0.2, 0.2]).expand(CLASSES, 4))
    if stage == "train_head_step2":
        return HeadStep(head, params.roi_head, trunk)
    rpn = initial_rpn(source, trunk.layout, params.anchors, params.rpn, generator)
    joint, own = params.finetune_joint, params.proposals
    rule = ProposalRule(joint.pre_nms, own.nms_iou, joint.post_nms, own.min_size, own.cut_first)
    grid = anchor_grid(params.anchors, trunk.layout)
    return JointStep(trunk, rpn, head, grid, rule, params.rpn, params.proposal_targets, params.roi_head)


def our_loop(
    photos: Photos, stage: str, schedule: Schedule, step: nn.Module, loader: BatchLoader
) -> Callable[[], object]:
    """The training loop of a stage, for the iterations of its schedule."""
    accelerator = launch(photos.params.base)
    return lambda: train(
        step,
        lambda iterations: prefetch(loader, iterations),
        schedule,
        photos.params.solver,
        accelerator,
        stage=stage,
        on_iteration=lambda loss: None,
    )


def peer_loops(photos: Photos, stage: str, schedule: Schedule) -> dict[str, Callable[[], None]]:
    """The peer as shipped and in our precision, on the entries of our iterations."""
    order = epoch_order(photos.entries(), schedule, photos.params.base.seed, stage)
    proposals = StoredProposals(photos.data / "proposals_step1")
    batches = []
    for iteration in range(schedule.iterations):
        _, entries = order(iteration)
        batches.append((*decoded(photos, entries), [torch.from_numpy(proposals[entry].boxes) for entry in entries]))
    part = PeerRPN if stage == "train_rpn_step1" else PeerHead
    return {
        name: peer_loop(part(build_peer(photos, CLASSES)), batches, LR, bf16=bf16)
        for name, bf16 in (("as shipped", False), ("same precision", True))
    }


def measure(photos: Photos, stage: str, runs: int) -> list[Row]:
    """Rows against the peer as shipped and in our precision, and in step 1 one of ours from images."""
    side = photos.params.resize.shorter_side
    own = getattr(photos.params, stage)
    changes = {"iterations": ITERATIONS.get(side, 3), "lr": LR, "lr_drop_at": [], "warmup_iterations": 0}
    schedule: Schedule = own.model_copy(update=changes)
    images = schedule.iterations * schedule.images_per_iteration
    maps = MapViews(FeatureMaps(photos.data / "frozen_features"))
    contestants = {
        "ours": our_loop(photos, stage, schedule, step_of(photos, stage), loader_of(photos, stage, schedule, maps)),
        **peer_loops(photos, stage, schedule),
    }
    if stage == "train_rpn_step1":
        contestants["from images"] = our_loop(
            photos, stage, schedule, step_of(photos, stage), loader_of(photos, stage, schedule)
        )
    times = interleaved(contestants, runs, per=images / 1e3)
    rates = measured_rates()
    sizes = list(photos.entries().values())
    if stage == "train_rpn_step1":
        seconds = rpn_training_flops(photos.params, sizes) / rates.bf16
    else:
        moved = head_weight_bytes(photos.params) / schedule.images_per_iteration
        seconds = head_training_flops(photos.params, sizes) / rates.bf16 + moved / rates.bytes
    title = f"step {stage[-1]}, shorter side {side}"
    rows = [
        Row(f"{title}, {name}", times["ours"], times[name], bar, seconds * 1e3)
        for name, bar in (("as shipped", 0.5), ("same precision", 0.9))
    ]
    if "from images" in times:
        rows.append(Row(f"{title}, from images, same precision", times["from images"], times["same precision"]))
    return rows


def _measure(arguments: argparse.Namespace, side: int, step: int) -> list[Row]:
    end_with_parent()
    with prepared(NAME, arguments, side, 16, roi_head={"hidden": 4096}) as photos:
        return measure(photos, ("train_rpn_step1", "train_head_step2")[step - 1], arguments.runs)


def main() -> None:
    own = parser(__doc__)
    own.add_argument("--steps", type=int, nargs="+", choices=(1, 2), default=[1, 2])
    arguments: argparse.Namespace = own.parse_args()
    for step, side in itertools.product(arguments.steps, arguments.sides):
        # In a process of its own, as several trainings take 10 GB, which malloc does not give back.
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            rows = process.submit(_measure, arguments, side, step).result()
        rates = measured_rates()
        about = ABOUT[step].format(runs=arguments.runs, rate=rates.bf16 / 1e12, bandwidth=rates.bytes / 1e9)
        title = f"Time of training, step {step} at {side}"
        write_section(NAME, title, about, rows, options=f"--steps {step} --sides {side}")


if __name__ == "__main__":
    main()
