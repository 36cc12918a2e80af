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

    def remarks(self, decay: str = "drops") -> list[str]:
        """What in the schedule cannot take effect because the training is too short for it, a line each.

        This is not an error: a training is often shortened for a trial.

        Args:
            decay: `solver.lr_decay`.
        """
        found = []
        if self.warmup_iterations > self.iterations:
            found.append(
                f"warmup_iterations {self.warmup_iterations:,} is more than iterations {self.iterations:,}, so "
                f"training ends at {self.iterations / self.warmup_iterations:.0%} of lr; lower warmup_iterations"
            )
        late = [at for at in self.lr_drop_at if at >= self.iterations]
        if late and decay == "drops":
            found.append(
                f"lr_drop_at {late} is not below iterations {self.iterations:,}, so the learning rate does not drop "
                "there; lower or remove it"
            )
        return found
