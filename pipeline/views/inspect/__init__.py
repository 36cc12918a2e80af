"""One artifact looked at: its schema and figures as text, and what it says of one image as a picture."""
