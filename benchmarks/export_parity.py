"""The trained networks of a finished run beside their exports to torchvision, on all its test images.

    python -m benchmarks.export_parity

First with equal pixels, where detections must be equal (float32, no least size of proposals on either side); then with
the photo itself, which torchvision resizes in its own way: how far detections move, and what that does to VOC mAP.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from benchmarks.peer_training import read_truth
from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import read_columns
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import load_trunk
from pipeline.bundle.writing import write_bundle
from pipeline.datasets.images import read_rgb
from pipeline.export.files import export_bundle, load_exported
from pipeline.families.faster_rcnn.building.detection import detection_rule, test_proposal_rule
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.registry import present_family
from pipeline.metrics.rows import DetectionRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.nn.boxes import pairwise_iou
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from tests.parity.comparison import Differences, detect_with_ours, detect_with_theirs, differences

Found = list[tuple[Tensor, Tensor, Tensor]]


def our_network(params: Params, stages: Mapping[str, str]) -> FasterRCNN:
    trunk, rpn, head = (Path("data") / stages[part] for part in ("trunk", "rpn", "head"))
    detect = params.detect.model_copy(update={"min_size": 0.0})
    loaded = load_trunk(trunk, params.backbone)
    return FasterRCNN(
        loaded,
        load_rpn(rpn, loaded.layout, params.anchors, params.rpn),
        load_head(head, loaded.layout, params.roi_head, params.backbone),
        anchor_grid(params.anchors, loaded.layout),
        test_proposal_rule(detect, detect.proposals),
        detection_rule(detect),
    )


def mean_ap(found: Found, images: ResizedImages, num_classes: int) -> float:
    """VOC all-point mAP at IoU .5 of boxes in original pixels."""
    index = np.concatenate([np.full(len(scores), i) for i, (_, scores, _) in enumerate(found)])
    boxes, scores, labels = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    truth = read_truth(Path("data"), images)
    return voc_ap(DetectionRows(index, labels.astype(np.int64), scores, boxes), truth, num_classes).mean_all_point


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    params = load_params(Path("params.yaml"))
    torch.set_num_threads(params.base.threads)
    images = ResizedImages(Path("data/resize"), "test")
    classes = json.loads(Path("data/resize/classes.json").read_text())
    rows = read_columns(Path("data/dataset/images.parquet"), DATASET_IMAGES)
    files = dict(zip(rows["image_id"], rows["file"], strict=True))
    networks = present_family().networks
    for name in present_family().bundled:
        network = our_network(params, networks[name].parts)
        with tempfile.TemporaryDirectory() as folder:
            write_bundle(Path.cwd(), name, Path(folder) / "bundle")
            export_bundle(Path(folder) / "bundle", "torchvision", Path(folder) / "net.safetensors")
            model = cast(TorchvisionFasterRCNN, load_exported(Path(folder) / "net.safetensors"))
        total, other_sizes, overlaps, gaps = Differences(), 0, [], []
        own: Found = []
        theirs: Found = []
        for info in images:
            pixels = torch.from_numpy(images.pixels(Entry(info.image_id)).copy()).permute(2, 0, 1)
            found = detect_with_ours(network, pixels)
            total.add(differences(found, detect_with_theirs(model, pixels)))
            photo = torch.from_numpy(read_rgb(Path("data") / files[info.image_id])).permute(2, 0, 1)
            other_sizes += tuple(model.transform([photo.float() / 255])[0].image_sizes[0]) != info.size
            again = detect_with_theirs(model, photo)
            boxes = found.boxes / found.boxes.new_tensor([*info.scale, *info.scale])
            own.append((boxes, found.scores, found.labels))
            theirs.append((again["boxes"], again["scores"], again["labels"]))
            if len(boxes) and len(again["boxes"]):
                overlap = pairwise_iou(boxes, again["boxes"]) * (found.labels[:, None] == again["labels"])
                best, nearest = overlap.max(dim=1)
                sure = found.scores > 0.5
                overlaps.append(best[sure])
                gaps.append((again["scores"][nearest] - found.scores).abs()[sure & (best > 0.5)])
        print(
            f"{name}, equal pixels, {len(own)} images: {total.pairs} pairs, scores to {total.score:.1e}, "
            f"boxes to {total.box:.4f} px, {len(total.unpaired)} without a pair"
        )
        print("\n".join(total.unpaired))
        overlap, gap = torch.cat(overlaps), torch.cat(gaps)
        print(
            f"{name}, torchvision resizes the photo: {other_sizes} images of another size; of {len(overlap)} "
            f"detections above .5, found again at IoU .5 {(overlap > 0.5).float().mean():.3f}, at .9 "
            f"{(overlap > 0.9).float().mean():.3f}; their scores differ by {gap.median():.4f} (median), "
            f"{gap.quantile(0.95):.4f} (95 %); mAP@.5 {mean_ap(own, images, len(classes)):.4f} ours, "
            f"{mean_ap(theirs, images, len(classes)):.4f} exported"
        )


if __name__ == "__main__":
    main()
