"""The sections of params.yaml that Faster R-CNN has beyond the common ones."""
