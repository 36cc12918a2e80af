"""Files of other codebases: read without trust, and written so that they can read them."""
