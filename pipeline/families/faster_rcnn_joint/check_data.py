"""What the stages require of a data set, the same as Faster R-CNN's stages with an RPN."""

from pipeline.families.faster_rcnn.check_data import checks

CHECKS = checks(("train_end_to_end",), ("frozen_features",))
