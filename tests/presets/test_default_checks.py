"""A family's default values that its models refuse are told as the family's fault."""

from __future__ import annotations

import pytest

from pipeline.families.registry import family_of
from pipeline.presets.default_checks import check_defaults
from pipeline.presets.defaults import default_text
from pipeline.runtime.errors import InputError
from tests.families.points_project import visible


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  channels:", "  chanels:", "; the file and its model, {points}, differ"),
        ("  channels:", "  more: 1\n  channels:", "unknown parameter points.more; the file and its model, {points}, d"),
        ("\npoints:", "\npionts:", "section pionts has no model; name one in sections of pipeline/families/points/fam"),
    ],
)
def test_a_default_that_the_model_refuses(old: str, new: str, said: str) -> None:
    with visible():
        family = family_of("points")
        text = default_text(family)
        check_defaults(family, text)
        assert old in text
        at = text.index("\npoints:")
        with pytest.raises(InputError, match=r"^pipeline/families/points/params\.yaml: [^\n]+$") as error:
            check_defaults(family, text[:at] + text[at:].replace(old, new, 1))
    assert said.replace("{points}", "pipeline.families.points.params.PointsParams") in str(error.value)
