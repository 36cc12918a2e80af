"""What code a stage's result depends on, as a small file that DVC can depend on. Standard library only, and nothing of
this project: another DVC project can copy the folder. docs/code-locks.md tells how.
"""
