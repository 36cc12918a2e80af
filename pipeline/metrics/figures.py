"""What metrics.json says of detections, under its names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.metrics.coco import COCO_METRICS
from pipeline.metrics.voc import VocAP


def detection_figures(voc: VocAP, coco: Mapping[str, float], classes: Sequence[str]) -> dict[str, object]:
    """The figures of detections: VOC's means, COCO's AP and AR, and `class_AP50` by name.

    Args:
        voc: of `voc_ap`. coco: of `coco_metrics`. classes: C names, the background first.
    """
    return {
        "mAP50": voc.mean_all_point,
        "mAP50_11point": voc.mean_11_point,
        **{name: coco[name] for name in COCO_METRICS[:9]},
        "class_AP50": {classes[c.label]: c.ap_all_point for c in voc.classes},
    }


def rounded(value: object) -> object:
    """Floats to 6 decimals, NaN and infinities to None, inside mappings too."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
