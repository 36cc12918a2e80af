"""Reads files of other codebases as untrusted input, and writes files that they can read."""
