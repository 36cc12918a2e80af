"""Bundles of the family."""

from __future__ import annotations

from pipeline.dense.bundle import dense_bundle
from pipeline.families.fcos import detect_dense

BUNDLE = dense_bundle(detect_dense)
