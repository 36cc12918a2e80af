"""What every process needs: stages, errors, progress, seeds, stopping, locks of files and of code."""
