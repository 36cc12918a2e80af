"""`frcnn report`: one page on a run, from the data to the detections, that opens from disk without a network."""
