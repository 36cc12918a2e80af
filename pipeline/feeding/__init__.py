"""Input of training and inference: views of images as batches on a device, and the maps of a trunk."""
