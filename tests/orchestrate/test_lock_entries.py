"""Entries and keys made before a run are those that DVC makes of it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.orchestrate.lock_entries import declared_stages, differing_inputs, key_of, value_of
from pipeline.orchestrate.run_cache import results_of_cache
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import read_yaml
from tests.conftest import TINY, Project, new_project


def test_every_stages_key_and_result_are_those_in_dvcs_run_cache(tiny_run: Project) -> None:
    lock, params = tiny_run.lock(), read_yaml(tiny_run.root / "params.yaml")
    with Repo(str(tiny_run.root)) as repo:
        declared, results = declared_stages(repo), results_of_cache(repo)
        for name, entry in lock.items():
            if name == "code":
                continue  # never kept there, as it always runs
            expected = declared[name].entry(params, lock)
            assert key_of(expected) == key_of(entry), differing_inputs(expected, entry)
            assert (tiny_run.root / ".dvc/cache/runs" / key_of(entry)[:2] / key_of(entry) / value_of(entry)).is_file()
            assert results.first(key_of(expected)) == entry


def test_a_key_changes_with_parameters_inputs_and_the_command_and_not_with_what_is_written(
    tiny_run: Project,
) -> None:
    entry = tiny_run.lock()["train_head_step4"]
    changed = [copy.deepcopy(entry) for _ in range(4)]
    changed[0]["params"]["params.yaml"]["solver"]["momentum"] = 0.5
    changed[1]["deps"][0]["md5"] = "0" * 32
    changed[2]["cmd"] += " "
    changed[3]["outs"][0]["md5"] = "0" * 32
    keys = [key_of(other) for other in changed]
    assert len({key_of(entry), *keys[:3]}) == 4
    assert keys[3] == key_of(entry) and value_of(changed[3]) != value_of(entry)
    assert differing_inputs(entry, changed[0]) == ["solver"]
    assert differing_inputs(entry, changed[1]) == [entry["deps"][0]["path"]]
    assert differing_inputs(entry, changed[2]) == ["the command"]
    assert differing_inputs(entry, changed[3]) == []


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    project = new_project(tmp_path, TINY)
    (project.data / "weights").rmdir()
    with Repo(str(project.root)) as repo, pytest.raises(InputError, match="data/weights: not there, and the stage"):
        declared_stages(repo)
