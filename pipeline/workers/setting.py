"""What a run of the graph is set to: its parameters and the graph itself, as texts that may be on no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.families.family import Family
from pipeline.params.file import check_params, family_in
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import EditedYaml, in_one_line, parse_yaml

FILES = ("params.yaml", "dvc.yaml")
"""What a setting is made of; these files may differ from what is committed."""


@dataclass(frozen=True)
class Setting:
    """The texts of `params`.yaml and of dvc.yaml, the `graph`, which is of the family that `params` names."""

    params: str
    graph: str

    def files(self) -> dict[str, str]:
        """Its texts by the names of their files."""
        return {"params.yaml": self.params, "dvc.yaml": self.graph}

    def family(self) -> Family:
        """The family of its detectors.

        Raises:
            InputError: params.yaml names one that there is not.
        """
        return family_in(parse_yaml(self.params, "params.yaml"), "params.yaml")

    def changed(self, changes: Mapping[str, Any]) -> Setting:
        """The same with other parameters, by `section.key` or `section.block.key`; comments are kept.

        Raises:
            InputError: a parameter that does not exist, or a value that it cannot have.
        """
        if not changes:
            return self
        edited = EditedYaml(self.params, "params.yaml")
        for key, value in changes.items():
            block, leaf = _place(edited.content, key)
            if block is None:
                raise _NoParameter(f"{key}: the family {self.family().name} has no such parameter", key)
            block[leaf] = in_one_line(value)
        text = edited.text()
        check_params(parse_yaml(text, "params.yaml"), "params.yaml")
        return Setting(text, self.graph)


class _NoParameter(InputError):
    """A change of the parameter `key`, which a setting does not have."""

    def __init__(self, told: str, key: str) -> None:
        super().__init__(told)
        self.key = key


def _place(content: Any, key: str) -> tuple[Any, str]:
    """The block that has a parameter, None where there is none, and its key there."""
    *path, leaf = key.split(".")
    for part in path:
        content = content.get(part) if isinstance(content, dict) else None
    return (content if isinstance(content, dict) and leaf in content else None), leaf


def present_setting(root: Path) -> Setting:
    """What params.yaml and dvc.yaml of a project hold.

    Raises:
        InputError: one of them is not there, or is not UTF-8 text.
    """
    texts = []
    for name in FILES:
        try:
            texts.append((root / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{root / name}: no such file; run in the project's folder") from None
        except UnicodeDecodeError:
            raise InputError(f"{root / name}: not UTF-8 text; restore it from git") from None
    return Setting(*texts)


@dataclass(frozen=True)
class Experiment:
    """`changes` (`section.key` or `section.block.key`: value) of the setting named `start`."""

    start: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Experiments:
    """Experiments to be run, by name; `starts` holds the settings that they start from."""

    starts: Mapping[str, Setting]
    tried: Mapping[str, Experiment]

    def settings(self) -> dict[str, Setting]:
        """The setting of each experiment.

        Raises:
            InputError: a parameter that does not exist, or a value that it cannot have; names the experiment.
        """
        found = {}
        for name, own in self.tried.items():
            try:
                found[name] = self.starts[own.start].changed(own.changes)
            except _NoParameter as error:
                raise InputError(f"experiment {name}: {error}; {self._remedy(error.key)}") from None
            except InputError as error:
                raise InputError(f"experiment {name}: {error}") from None
        return found

    def _remedy(self, key: str) -> str:
        """What to do with a parameter that not all starts have."""
        for name, setting in self.starts.items():
            if _place(parse_yaml(setting.params, "params.yaml"), key)[0] is not None:
                return f"write it beside a preset that has it, presets: {{{name}: {{{key}: VALUE}}}}"
        return "docs/parameters.md lists them"

    def renamed(self, names: Mapping[str, str]) -> Experiments:
        """Some of them, by their names, under others."""
        tried = {new: self.tried[old] for old, new in names.items()}
        return Experiments({own.start: self.starts[own.start] for own in tried.values()}, tried)

    def changed(self, changes: Mapping[str, Any]) -> Experiments:
        """The same with further changes in all of them."""
        tried = {name: Experiment(own.start, {**own.changes, **changes}) for name, own in self.tried.items()}
        return Experiments(self.starts, tried)
