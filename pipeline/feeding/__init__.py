"""What training and inference both read: views of images as batches on a device, and the maps of a trunk."""
