"""Bundles of the family."""

from __future__ import annotations

from pipeline.families.points import detect_dense

from pipeline.dense.bundle import dense_bundle

BUNDLE = dense_bundle(detect_dense)
