"""`frcnn report`: one page that tells a run from the data to the detections, and opens from disk without a network."""
