"""What is judged besides the detections is Faster R-CNN's: the recall of the proposals."""

from pipeline.families.faster_rcnn.evaluate import SECTIONS, figures

__all__ = ["SECTIONS", "figures"]
