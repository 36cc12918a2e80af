"""Export formats, the same as Faster R-CNN's."""

from pipeline.families.faster_rcnn.export import FORMATS

__all__ = ["FORMATS"]
