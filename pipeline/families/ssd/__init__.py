"""SSD (Liu et al. 2016): classes and boxes at default boxes of several sizes and ratios, on maps of several levels."""
