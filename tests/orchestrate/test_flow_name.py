"""The flow, its deployment and what people type to run it have one name, and it is not a family's."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml
from prefect import Flow

from pipeline.families.registry import family_names, family_of
from tests.conftest import ROOT


def test_the_deployment_runs_the_flow_by_the_name_that_people_type() -> None:
    [deployment] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    path, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert isinstance(flow, Flow)
    typed = f"prefect deployment run {flow.name}/{deployment['name']}"
    for place in ("prefect.yaml", "docs/flow.md", "pipeline/orchestrate/worker.py"):
        assert typed in (ROOT / place).read_text(), place


@pytest.mark.parametrize(
    ("module", "name"), [("orchestrate.flow", "train"), ("workers.coordinator", "train_on_workers")]
)
def test_no_flow_names_a_family(module: str, name: str) -> None:
    flow = getattr(import_module(f"pipeline.{module}"), name)
    said = f"{flow.name} {flow.description} {flow.fn.__name__}".lower().replace("-", "_")
    for family in map(family_of, family_names()):
        assert family.name not in said and family.title.lower() not in said
