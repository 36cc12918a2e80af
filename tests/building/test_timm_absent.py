"""What needs timm says so in one line where it is not installed, and nothing else needs it."""

from __future__ import annotations

import sys

import pytest

from pipeline.building import timm_model
from pipeline.building.layout import map_layout
from pipeline.building.trunk import new_trunk
from pipeline.params.backbone import BackboneParams
from pipeline.params.file import check_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.own_code import extras_of, own_code
from tests.conftest import ROOT
from tests.defaults import default_content


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Parameters of a model of timm's, where timm is not installed."""
    monkeypatch.setitem(sys.modules, "timm", None)
    timm_model._maps.cache_clear()
    content = default_content()
    content["backbone"] |= {"name": "timm/test_resnet", "weights": "random", "frozen_stages": "all"}
    return content


def test_a_trunk_and_its_layout_need_timm_and_params_do_not(content: dict[str, object]) -> None:
    own = check_params(content, "params.yaml")["backbone"]
    assert isinstance(own, BackboneParams)
    for make in (map_layout, new_trunk):
        with pytest.raises(InputError) as caught:
            make(own)  # type: ignore[operator]
        assert str(caught.value) == (
            "backbone.name timm/test_resnet: timm is not installed; install this project with its extra: "
            "pip install '.[timm]'"
        )


def test_the_version_of_timm_belongs_to_locks_where_params_name_a_model_of_its_alone(
    content: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert extras_of(content) == ("timm",)
    assert extras_of(default_content()) == () == extras_of(None) == extras_of({"backbone": "timm/x"})
    monkeypatch.undo()  # a lock asks what is installed
    with_timm, without = (own_code(root=ROOT, extras=extras).lock("stages.backbone") for extras in (("timm",), ()))
    assert with_timm.libraries.keys() - without.libraries.keys() == {"timm"}
    assert with_timm.modules == without.modules
    assert "timm" not in own_code(root=ROOT, extras=("timm",)).lock("stages.resize").libraries
