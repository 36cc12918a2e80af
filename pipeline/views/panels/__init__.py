"""What an artifact says of one image, as panels: `frcnn inspect`, Prefect's pictures and the report draw these."""
