"""Bundles, the same as Faster R-CNN's."""

from pipeline.families.faster_rcnn.bundle import BUNDLE

__all__ = ["BUNDLE"]
