"""How stages are drawn: Faster R-CNN's panels of the stages that both families have, and the sample of the training."""

from pipeline.families.faster_rcnn.panels import PANELS as _ALL
from pipeline.families.faster_rcnn.panels.drawn_samples import JOINT

PANELS = {module: _ALL[module] for module in ("anchor_targets", "detect")}
DRAWN = {"train_end_to_end": JOINT}
