"""The convolutional trunks."""
