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
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.peer_training import Budget, evaluate, our_recipe, train
from pipeline.building.trunk import load_trunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.file import load_params
from pipeline.params.reading import Params


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
    iterations, seconds = train(model, arguments.data, our_recipe(params), spent, arguments.lr)
    peer = evaluate(model, arguments.data, params.base, len(classes), params.evaluate.split)
    setting = f"lr {arguments.lr:g}, {seconds:.0f} s, {iterations * params.finetune_joint.images_per_iteration} images"
    print(f"torchvision, {setting}: mAP@.5 {peer['mAP50']:.4f}, AP {peer['AP']:.4f}")
    for network in ("step2", "step4", "joint"):
        metrics = json.loads((arguments.data / f"evaluate_{network}" / "metrics.json").read_text())
        print(f"{network}: mAP@.5 {metrics['mAP50']:.4f}, AP {metrics['AP']:.4f}")


if __name__ == "__main__":
    main()
