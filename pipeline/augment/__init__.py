"""Random augmentation of training images in each epoch: crop, size, mirror and colours."""
