"""The figures besides those of the detections: the recall of the proposals, as for Faster R-CNN."""

from pipeline.families.faster_rcnn.evaluate import SECTIONS, figures

__all__ = ["SECTIONS", "figures"]
