"""Figures and pictures of finished stages: Faster R-CNN's, for the stages that both families have."""

from pipeline.families.faster_rcnn.figures import FIGURES as _ALL
from pipeline.families.faster_rcnn.figures import PICTURES

__all__ = ["FIGURES", "PICTURES"]

FIGURES = {module: _ALL[module] for module in ("anchor_targets", "detect")}
