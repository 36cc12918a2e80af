"""A schedule: the block of a training stage in params.yaml."""

from __future__ import annotations

from pipeline.params.section import Count, Natural, Positive, Section


class Schedule(Section):
    """How long a training stage runs, and at which learning rate."""

    iterations: Count
    images_per_iteration: Count
    lr: Positive
    lr_drop_at: list[Count]
    lr_drop_factor: Positive
    warmup_iterations: Natural
