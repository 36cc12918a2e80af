"""What happens between the pixels of a test image and its proposals: anchors and feature maps."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.family_report import Pictures
from pipeline.report.run import Run
from pipeline.views.panels.anchors import assignment_panels
from pipeline.views.panels.maps import channel_panels
from pipeline.views.panels.request import PanelRequest


def before_detection(trunk_stage: str) -> Callable[[Run], Callable[[PanelRequest], Pictures]]:
    """Computes both with the trunk that a stage trained, since no stage stores them for test images."""

    def of_run(run: Run) -> Callable[[PanelRequest], Pictures]:
        # Imported here: torch takes longer than all other pages.
        from pipeline.families.faster_rcnn.report.recomputed import Recomputed

        recomputed = Recomputed(run, trunk_stage)

        def pictures(request: PanelRequest) -> Pictures:
            return [
                (
                    "Anchors, and which of them would be fg if this were a training image.",
                    assignment_panels(request, recomputed.assignment(request.entry), counts=False),
                ),
                (
                    "The feature maps of the trunk, which RPN and head both read.",
                    channel_panels(request, recomputed.feature_maps(request.entry)),
                ),
            ]

        return pictures

    return of_run
