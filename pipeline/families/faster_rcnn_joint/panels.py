"""What stages are drawn as: Faster R-CNN's panels, of the stages that are here too."""

from pipeline.families.faster_rcnn.panels import PANELS as _ALL

PANELS = {module: _ALL[module] for module in ("anchor_targets", "detect")}
