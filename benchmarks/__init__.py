"""Ratios against peers, one script a question."""
