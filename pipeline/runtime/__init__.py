"""What every process of the project needs: stages, errors, progress, seeds, stopping, locks of files and of code."""
