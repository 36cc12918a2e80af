"""`frcnn evaluate --detections`: AP of detections of any origin, at any IoU."""
