"""The graph as read from DVC, and what dvc.lock tells of the last run, on small repositories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc import rwlock
from dvc.lock import LockError
from dvc.repo import Repo

from pipeline.orchestrate.graph import LockFile, StageMeta, StageNode, opened, read_graph
from pipeline.runtime.errors import InputError
from tests.orchestrate.conftest import Toy, python

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of dvc, in pygtrie

COPY = "open({!r}, 'w').write(open({!r}).read().strip())"


def copying(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"cmd": python(COPY.format(target, source)), "deps": [source], "outs": [target], **more}


CHAIN = {
    "last": copying("middle.txt", "last.txt"),
    "aside": copying("source.txt", "aside.txt"),
    "middle": copying("first.txt", "middle.txt"),
    "first": copying("source.txt", "first.txt", desc="Copy", meta={"step": "data", "gpu": 1, "timeout_minutes": 2.5}),
}


@pytest.fixture
def chain(toy: Toy) -> Toy:
    toy.write(CHAIN)
    (toy.root / "source.txt").write_text("one")
    return toy


def test_every_stage_comes_after_those_it_reads(chain: Toy) -> None:
    graph = read_graph(chain.root)
    assert {name: node.upstream for name, node in graph.nodes.items()} == {
        "last": ("middle",),
        "aside": (),
        "middle": ("first",),
        "first": (),
    }
    order = list(graph.nodes)
    assert all(order.index(up) < order.index(name) for name, node in graph.nodes.items() for up in node.upstream)
    assert graph.changed == {"first", "middle", "last", "aside"}


def test_a_node_says_what_dvc_yaml_says(chain: Toy) -> None:
    nodes = read_graph(chain.root).nodes
    meta = StageMeta(step="data", gpu=1, cores=1, timeout_minutes=2.5, retries=0)
    assert nodes["first"] == StageNode("first", "Copy", CHAIN["first"]["cmd"], (), ("first.txt",), meta)
    assert nodes["last"].meta == StageMeta(step="", gpu=0, cores=1, timeout_minutes=None, retries=0)


def test_targets_come_with_all_they_need_and_nothing_else(chain: Toy) -> None:
    graph = read_graph(chain.root, ["middle"])
    assert list(graph.nodes) == ["first", "middle"]
    assert graph.changed == {"first", "middle"}
    assert set(read_graph(chain.root, ["middle", "aside"]).nodes) == {"first", "middle", "aside"}


def test_names_and_changes_are_the_same_from_any_folder(chain: Toy, tmp_path: Path) -> None:
    inside = read_graph(chain.root)
    (tmp_path / "link").symlink_to(chain.root)
    assert read_graph(tmp_path / "link") == inside
    before = Path.cwd()
    os.chdir(chain.root)
    try:
        assert read_graph(Path()) == inside
    finally:
        os.chdir(before)


def test_an_unknown_target_ends_in_one_line(chain: Toy) -> None:
    with pytest.raises(InputError, match=r"^midle: no such stage in dvc.yaml; the nearest is middle; dvc stage list"):
        read_graph(chain.root, ["midle"])
    with pytest.raises(InputError, match=r"^nowhere: no such stage in dvc.yaml; dvc stage list names them$"):
        read_graph(chain.root, ["middle", "nowhere"])


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"core": 2}, "meta.core: Extra inputs are not permitted"),
        ({"gpu": 2}, "meta.gpu: Input should be less than or equal to 1"),
        ({"cores": 0}, "meta.cores: Input should be greater than or equal to 1"),
        ({"timeout_minutes": "long"}, "meta.timeout_minutes: Input should be a valid number"),
        ({"retries": -1}, "meta.retries: Input should be greater than or equal to 0"),
        (["gpu"], "meta: Input should be a valid dictionary"),
    ],
)
def test_an_unknown_key_or_a_bad_value_of_meta_ends_in_one_line(toy: Toy, meta: object, message: str) -> None:
    toy.write({"only": {"cmd": "true", "meta": meta}})
    with pytest.raises(InputError) as caught:
        read_graph(toy.root)
    assert str(caught.value).startswith(f"dvc.yaml: stage only: {message}")
    assert "\n" not in str(caught.value)


def test_a_dvc_yaml_that_dvc_refuses_ends_in_one_line(toy: Toy) -> None:
    (toy.root / "dvc.yaml").write_text("stages:\n  one:\n    outs: 7\n")
    with pytest.raises(InputError, match=r"^dvc cannot read the graph: [^\n]+$"):
        read_graph(toy.root)


@pytest.mark.parametrize("folder", [".", "toy/data"])
def test_no_dvc_repository_or_only_one_above_is_an_input_error(toy: Toy, tmp_path: Path, folder: str) -> None:
    (toy.root / "data").mkdir()
    toy.write(CHAIN)
    with pytest.raises(InputError, match="no DVC repository here"):
        read_graph(tmp_path / folder)


def test_changed_and_the_lock_file_follow_what_ran(chain: Toy) -> None:
    lock = LockFile(chain.root)
    assert lock.stages() == {}
    assert not lock.reads_what_was_written(read_graph(chain.root).nodes["middle"])

    chain.repro()
    graph = read_graph(chain.root)
    middle = graph.nodes["middle"]
    assert graph.changed == set()
    assert set(lock.stages()) == set(CHAIN)
    assert all(lock.reads_what_was_written(node) for node in graph.nodes.values())

    (chain.root / "source.txt").write_text("one \n")
    assert read_graph(chain.root).changed == {"first", "aside"}
    chain.repro("--single-item", "first")
    assert lock.reads_what_was_written(middle), "the output is equal"

    (chain.root / "source.txt").write_text("two")
    chain.repro("--single-item", "first")
    assert not lock.reads_what_was_written(middle), "the output is another"
    assert "middle" in read_graph(chain.root).changed
    chain.repro("--single-item", "middle")
    assert lock.reads_what_was_written(middle)


def entry(**paths: dict[str, str]) -> dict[str, Any]:
    return {key: [{"path": path, "md5": md5} for path, md5 in files.items()] for key, files in paths.items()}


def write_lock(root: Path, reader: dict[str, str], writer: dict[str, str]) -> None:
    stages = {"writer": entry(outs=writer), "reader": entry(deps=reader)}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


READER = StageNode("reader", "", "", ("writer",), (), StageMeta())


@pytest.mark.parametrize(
    ("reader", "writer", "same"),
    [
        ({"a": "1", "code.py": "7"}, {"a": "1"}, True),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, False),
        ({"a": "1"}, {"a": "1", "unread": "9"}, True),
        ({"other": "1"}, {"a": "1"}, False),
        ({"a": "1", "folder/part": "2"}, {"a": "1", "folder": "3"}, False),
        ({"a": "1", "folder": "2"}, {"a": "1", "folder/part": "3"}, False),
        ({"a": "1", "ab": "2"}, {"a": "1"}, True),
    ],
)
def test_each_output_that_is_read_must_be_as_it_was_written(
    tmp_path: Path, reader: dict[str, str], writer: dict[str, str], same: bool
) -> None:
    write_lock(tmp_path, reader, writer)
    assert LockFile(tmp_path).reads_what_was_written(READER) is same


def test_an_entry_without_a_digest_is_not_the_same(tmp_path: Path) -> None:
    stages = {"writer": {"outs": [{"path": "a"}]}, "reader": {"deps": [{"path": "a"}]}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert not LockFile(tmp_path).reads_what_was_written(READER)


@pytest.mark.parametrize(
    "half", ["", "sche", "schema: '2.0'\nstages:\n", "stages:\n  writer:\n    outs: [", "stages: {\x00"]
)
def test_a_lock_file_that_is_being_written_is_read_again(tmp_path: Path, half: str) -> None:
    lock = LockFile(tmp_path)
    (tmp_path / "dvc.lock").write_text(half)
    assert lock.stages() == {}
    assert not lock.reads_what_was_written(READER)
    write_lock(tmp_path, {"a": "1"}, {"a": "1"})
    assert lock.reads_what_was_written(READER)


def test_the_lock_file_is_parsed_once_as_long_as_it_stays(tmp_path: Path) -> None:
    write_lock(tmp_path, {"a": "1"}, {"a": "1"})
    lock = LockFile(tmp_path)
    assert lock.stages() is lock.stages()
    write_lock(tmp_path, {"a": "1"}, {"a": "22"})
    assert not lock.reads_what_was_written(READER)


def test_what_a_run_under_way_has_locked_is_told_without_dvcs_advice_to_remove_its_lock(tmp_path: Path) -> None:
    Repo.init(str(tmp_path), no_scm=True)
    blocked = rwlock._infos_to_str([{"pid": 7, "cmd": "dvc repro"}, {"pid": 8, "cmd": "dvc repro"}])
    for said, process in (
        (f"'x' is busy, it is being blocked by:\n{blocked}\n", " (process 7, process 8)"),
        ("locked", ""),
    ):
        with pytest.raises(InputError) as error, opened(tmp_path):
            raise LockError(said)
        assert str(error.value) == (
            f"a run is under way here{process}, and DVC cannot look at what it reads and writes; wait for it, or stop "
            "it; frcnn status tells what runs now"
        )
