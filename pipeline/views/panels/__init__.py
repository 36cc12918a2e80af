"""Panels of what an artifact holds for one image, for `frcnn inspect`, Prefect's pictures and the report."""
