"""`frcnn report`: one page on a run from the data to the detections, and opens from disk without a network."""
