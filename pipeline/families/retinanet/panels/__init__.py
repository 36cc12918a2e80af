"""What RetinaNet's stages are drawn as, beside what all dense families have: `PANELS`, by the stage's module."""

from pipeline.families.retinanet.panels.focal import detect_panels
from pipeline.families.retinanet.panels.targets import target_panels
from pipeline.views.panels.image_panels import HELD_OUT, ImagePanels

PANELS = {
    "dense_targets": ImagePanels(target_panels),
    "detect_dense": ImagePanels(detect_panels, HELD_OUT, plain=True),
}
