"""RetinaNet (Lin et al. 2017): dense anchors, classified by focal loss."""
