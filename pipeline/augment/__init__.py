"""Views of training images that are drawn anew in each epoch: which part is seen, how large, and in what light."""
