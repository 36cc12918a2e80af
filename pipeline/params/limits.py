"""Checks that detection keeps everything that is evaluated; otherwise detectors could not be compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.params.evaluate import EvaluateParams
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError


def check_limits(
    sections: Mapping[str, Section], judged: EvaluateParams, source: Path | str, with_option: bool = False
) -> None:
    """Check that detection keeps everything that is evaluated.

    Args:
        sections: by name; those with a `score_threshold` or `per_image` of their own detect.
        source: what to name in errors. with_option: whether `judged` is changed by --set.

    Raises:
        InputError: it does not.
    """
    for name, section in sections.items():
        least, most = (getattr(section, key, None) for key in ("score_threshold", "per_image"))
        if least is not None and least > judged.score_threshold:
            remedy = f"give --set evaluate.score_threshold={least:g}" if with_option else ""
            raise InputError(
                f"{source}: {name}.score_threshold {least:g} is above evaluate.score_threshold "
                f"{judged.score_threshold:g}, so that detections which are to be judged would be missing; "
                f"{remedy or 'lower the first or raise the second'}"
            )
        if most is not None and most < judged.per_image:
            remedy = f"give --set evaluate.per_image={most}" if with_option else ""
            raise InputError(
                f"{source}: {name}.per_image {most} is below evaluate.per_image {judged.per_image}, so that detections "
                f"which are to be judged would be missing; {remedy or 'raise the first or lower the second'}"
            )
