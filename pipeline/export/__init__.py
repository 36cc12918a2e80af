"""A trained network as a `torchvision.models.detection.FasterRCNN`: the model, and the files that hold it."""
