"""States of trainings, shared between workers."""

from __future__ import annotations

from pathlib import Path

from dvc.fs import LocalFileSystem

from pipeline.workers.states import SharedStates


def states(tmp_path: Path, own: str, key: str = "k") -> SharedStates:
    return SharedStates(LocalFileSystem(), str(tmp_path / "store"), key, tmp_path / own)


def write(tmp_path: Path, own: str, number: int, content: str) -> None:
    folder = tmp_path / own / "run"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("safetensors", "json"):
        (folder / f"state-{number}.{suffix}").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_one_has_sent_another_fetches(tmp_path: Path) -> None:
    write(tmp_path, "one", 5, "five")
    states(tmp_path, "one").send()
    assert states(tmp_path, "two").fetch() == 2
    assert names(tmp_path / "two") == ["run/state-5.json", "run/state-5.safetensors"]
    assert (tmp_path / "two/run/state-5.json").read_text() == "five"


def test_a_state_that_the_stage_has_removed_goes_and_the_new_one_comes(tmp_path: Path) -> None:
    one = states(tmp_path, "one")
    write(tmp_path, "one", 5, "five")
    one.send()
    write(tmp_path, "one", 10, "ten")
    for path in (tmp_path / "one/run").glob("state-5.*"):
        path.unlink()
    one.send()
    assert names(tmp_path / "store") == ["frcnn-states/k/run/state-10.json", "frcnn-states/k/run/state-10.safetensors"]


def test_states_of_another_run_are_not_fetched(tmp_path: Path) -> None:
    write(tmp_path, "one", 5, "five")
    states(tmp_path, "one").send()
    assert states(tmp_path, "two", key="other").fetch() == 0


def test_they_are_sent_at_the_end_however_it_comes_and_forgotten_when_the_run_is_done(tmp_path: Path) -> None:
    one = states(tmp_path, "one")
    try:
        with one.sent_while():
            write(tmp_path, "one", 5, "five")
            raise RuntimeError
    except RuntimeError:
        pass
    assert len(names(tmp_path / "store")) == 2
    one.forget()
    assert names(tmp_path / "store") == []
