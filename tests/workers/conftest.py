"""A family that is in the tests alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from pipeline import families
from pipeline.params.file import COMMON
from pipeline.workers.setting import Setting
from tests.conftest import ROOT

_FAMILY = """
from pipeline.families.family import Family, Network
from pipeline.params.section import Section

class OtherParams(Section):
    strides: list[int]

FAMILY = Family(
    name="other",
    title="Other",
    sections={"other": OtherParams},
    networks={"other": Network("other", "Trained at once."), "later": Network("later", "Trained on.")},
    judged="other",
    training={"train_other": "All of it"},
)
"""


def graph_of(*networks: str) -> str:
    """A graph that evaluates networks, and nothing else."""
    return str(yaml.safe_dump({"stages": {f"evaluate_{network}": {"cmd": "x"} for network in networks}}))


@pytest.fixture
def other_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """A family `other` of two networks and a section of its own; its parameters and a graph."""
    folder = tmp_path / "families/other"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "family.py").write_text(_FAMILY)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder.parent)])
    for name in ("pipeline.families.other", "pipeline.families.other.family"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    own = {"family": "other", **{name: params[name] for name in COMMON}, "other": {"strides": [8, 16, 32]}}
    own["dataset"]["shapes"]["val"] = 8
    own["evaluate"].pop("recall_proposals")
    return Setting(yaml.safe_dump(own, sort_keys=False), graph_of("other", "later"))
