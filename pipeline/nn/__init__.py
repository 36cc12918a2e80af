"""The mathematics and the networks of Faster R-CNN; needs torch, torchvision and numpy only."""
