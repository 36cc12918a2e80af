"""Each part of Faster R-CNN from params.yaml and the weights of a stage."""
