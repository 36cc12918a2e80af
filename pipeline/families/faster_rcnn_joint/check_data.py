"""What the stages ask of a data set: as Faster R-CNN's that train an RPN."""

from pipeline.families.faster_rcnn.check_data import checks

CHECKS = checks(("train_end_to_end",), ("frozen_features",))
