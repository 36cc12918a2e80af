"""What the steps of Faster R-CNN train on, and their losses."""
