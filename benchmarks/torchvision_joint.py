"""Are the pictures easy, or is the training good? torchvision's FasterRCNN on the same trunk, images and budget.

    python -m benchmarks.torchvision_joint --seconds 150
    python -m benchmarks.torchvision_joint --images 6000

Reads the artifacts of a finished run (backbone, resize, dataset) and trains torchvision's joint detector from the same
pre-trained trunk with the same anchors, batch, sampling, precision and decay of the learning rate, for a wall time or
for a number of images through the trunk's backward pass. Prints its VOC mAP and COCO AP beside those of our networks.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.building.trunk import load_trunk
from pipeline.metrics.coco_ap import coco_metrics
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.runtime.launcher import launch
from pipeline.training.order import EpochOrder
from pipeline.training.run import entries_of


class Backbone(nn.Module):
    """Our trunk as torchvision expects one."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk, self.out_channels = trunk, trunk.layout.channels

    def forward(self, images: Tensor) -> Tensor:
        return self.trunk(images.contiguous(memory_format=torch.channels_last))[0].float()


def build(params: Params, data: Path, num_classes: int) -> FasterRCNN:
    trunk = load_trunk(data / "backbone", params.backbone)
    anchors, resize = params.anchors, params.resize
    return FasterRCNN(
        Backbone(trunk),
        num_classes,
        min_size=resize.shorter_side,
        max_size=resize.longer_side,
        image_mean=trunk.pixel_mean.tolist(),
        image_std=trunk.pixel_std.tolist(),
        rpn_anchor_generator=AnchorGenerator(
            (tuple(anchors.base_size * scale for scale in anchors.scales),), (tuple(anchors.ratios),)
        ),
        box_roi_pool=MultiScaleRoIAlign(["0"], params.roi_head.output_size, 2),
        rpn_pre_nms_top_n_train=params.finetune_joint.pre_nms,
        rpn_post_nms_top_n_train=params.finetune_joint.post_nms,
        box_batch_size_per_image=params.roi_head.rois_per_image,
        rpn_pre_nms_top_n_test=params.detect.pre_nms,
        rpn_post_nms_top_n_test=params.detect.proposals,
        box_detections_per_img=params.detect.per_image,
    )


@dataclass(frozen=True)
class Budget:
    """Wall seconds of training, or images through the trunk's backward pass."""

    seconds: float | None
    images: int | None

    def spent(self, seconds: float, images: int) -> float:
        """The share of it that is used up."""
        return seconds / self.seconds if self.seconds else images / self.images  # type: ignore[operator]


def lr_factor(params: Params, iteration: int, spent: float) -> float:
    warmup = min(1.0, (iteration + 1) / 50)
    return min(warmup, 1 - spent) if params.solver.lr_decay == "linear" else warmup * (0.1 if spent > 0.75 else 1.0)


def train(model: FasterRCNN, params: Params, data: Path, budget: Budget, lr: float) -> tuple[int, float]:
    accelerator = launch(params.base)
    images, gt = ResizedImages(data / "resize", "train"), GroundTruth(data / "resize")
    schedule = params.finetune_joint
    sizes = entries_of(images, params.base.mirror)
    landscape = [width >= height for height, width in sizes.values()]
    order = EpochOrder(list(sizes), landscape, schedule.images_per_iteration, params.base.seed, "peer")
    solver = params.solver
    optimiser = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=lr,
        momentum=solver.momentum,
        weight_decay=solver.weight_decay,
        fused=True,
    )
    model.train()
    started, iteration = time.monotonic(), 0
    while (spent := budget.spent(time.monotonic() - started, iteration * schedule.images_per_iteration)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = lr * lr_factor(params, iteration, spent)
        _, entries = order(iteration)
        pixels = [torch.from_numpy(images.pixels(e).copy()).permute(2, 0, 1).float() / 255 for e in entries]
        targets = [
            {
                "boxes": torch.from_numpy(gt.boxes(entry, images[entry.image_id].size[1]).copy()),
                "labels": torch.from_numpy(gt[entry.image_id][1]),
            }
            for entry in entries
        ]
        with accelerator.autocast():
            losses = model(pixels, targets)
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        iteration += 1
    return iteration, time.monotonic() - started


@torch.inference_mode()
def evaluate(model: FasterRCNN, params: Params, data: Path, num_classes: int) -> dict[str, float]:
    accelerator = launch(params.base)
    images = ResizedImages(data / "resize", "test")
    model.eval()
    columns: list[tuple[np.ndarray, ...]] = []
    for index, info in enumerate(images):
        pixels = torch.from_numpy(images.pixels(Entry(info.image_id)).copy()).permute(2, 0, 1).float() / 255
        with accelerator.autocast():
            found = model([pixels])[0]
        boxes = found["boxes"].float().numpy() / np.array([*info.scale, *info.scale], dtype=np.float32)
        columns.append((np.full(len(boxes), index), found["labels"].numpy(), found["scores"].float().numpy(), boxes))
    detections = DetectionRows(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    truth = read_truth(data, images)
    return {
        "mAP50": voc_ap(detections, truth, num_classes).mean_all_point,
        "AP": coco_metrics(detections, truth)["AP"],
    }


def read_truth(data: Path, images: ResizedImages) -> GtRows:
    """The original boxes of some images, as the evaluation judges by them."""
    index_of = {info.image_id: i for i, info in enumerate(images)}
    rows = read_columns(data / "dataset" / "boxes.parquet", DATASET_BOXES)
    keep = np.array([image_id in index_of for image_id in rows["image_id"]])
    return GtRows(
        np.array([index_of[image_id] for image_id in rows["image_id"][keep]], dtype=np.int64),
        rows["label"][keep].astype(np.int64),
        boxes_of(rows)[keep],
        rows["difficult"][keep],
        rows["iscrowd"][keep],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--seconds", type=float, help="wall time of training")
    budget.add_argument("--images", type=int, help="images through the trunk's backward pass")
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seed", type=int, help="of its weights and images; base.seed without it")
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    params = load_params(Path("params.yaml"))
    if arguments.seed is not None:
        params.base = params.base.model_copy(update={"seed": arguments.seed})
    torch.manual_seed(params.base.seed)
    classes = json.loads((arguments.data / "resize" / "classes.json").read_text())
    model = build(params, arguments.data, len(classes))
    spent = Budget(arguments.seconds, arguments.images)
    iterations, seconds = train(model, params, arguments.data, spent, arguments.lr)
    peer = evaluate(model, params, arguments.data, len(classes))
    setting = f"lr {arguments.lr:g}, {seconds:.0f} s, {iterations * params.finetune_joint.images_per_iteration} images"
    print(f"torchvision, {setting}: mAP@.5 {peer['mAP50']:.4f}, AP {peer['AP']:.4f}")
    for network in ("step2", "step4", "joint"):
        metrics = json.loads((arguments.data / f"evaluate_{network}" / "metrics.json").read_text())
        print(f"{network}: mAP@.5 {metrics['mAP50']:.4f}, AP {metrics['AP']:.4f}")


if __name__ == "__main__":
    main()
