"""What a GPU does with this project, found in one call on a machine that has little installed."""
