"""Exports networks of bundles to other libraries; each family declares its formats."""
