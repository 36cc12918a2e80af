"""VOC AP, COCO AP and proposal recall."""
