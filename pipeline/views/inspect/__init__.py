"""`frcnn inspect`: an artifact's schema and statistics as text, and what it holds for one image as a picture."""
