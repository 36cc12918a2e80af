"""What a stage's command line in dvc.yaml names: its module, its inputs, its output, its parameters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import InputError

_FORM = "python -m stages.NAME --OPTION PATH ... --params SECTION,... --out PATH"


@dataclass(frozen=True)
class StageCommand:
    """A stage's command line.

    `module` is the module's name in stages/, `family` the family whose part of it runs, empty where the module is of no
    family's in particular; `options` the paths it is given, by option as in `Stage.inputs`
    (`anchor_targets` for --anchor-targets), `out` the folder it writes, `params` the sections it reads, `stage` its
    name in dvc.yaml, and `code` the lock of its code, where it is given one. Paths stand as written, most often
    relative to the project's folder.
    """

    module: str
    options: Mapping[str, Path]
    out: Path
    params: tuple[str, ...]
    stage: str
    family: str = ""
    code: Path | None = None

    @classmethod
    def parse(cls, cmd: str) -> StageCommand:
        """Take a command line of the form `python -m stages.NAME --resize data/resize --params a,b --out data/X` apart.

        Raises:
            InputError: the command is of another form.
        """
        try:
            words = shlex.split(cmd)
        except ValueError as error:
            raise _other_form(cmd, f"cannot be split into words ({error})") from error
        if len(words) < 3 or not Path(words[0]).name.startswith("python") or words[1] != "-m":
            raise _other_form(cmd, "does not start with python -m")
        package, _, module = words[2].partition(".")
        if package != "stages" or not module.isidentifier():
            raise _other_form(cmd, f"{words[2]!r} is not a module of stages")
        values = _options(cmd, words[3:])
        for needed in ("params", "out"):
            if needed not in values:
                raise _other_form(cmd, f"--{needed} is missing")
        out = Path(values.pop("out"))
        params = tuple(values.pop("params").split(","))
        stage, family = values.pop("stage", out.name), values.pop("family", "")
        values.pop("params_file", None)
        code = Path(values.pop("code")) if "code" in values else None
        return cls(module, {name: Path(value) for name, value in values.items()}, out, params, stage, family, code)

    def input(self, option: str) -> Path:
        """The path given for an option.

        Raises:
            InputError: the command does not give it.
        """
        if option not in self.options:
            raise InputError(
                f"stage {self.stage}: its command has no --{option.replace('_', '-')}; add it to cmd in dvc.yaml"
            )
        return self.options[option]


def _options(cmd: str, words: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        option, given, value = word.partition("=")
        if not option.startswith("--") or len(option) == 2:
            raise _other_form(cmd, f"{word!r} is not an option")
        if not given:
            value = next(rest, "")
        if not value or value.startswith("--"):
            raise _other_form(cmd, f"{option} has no value")
        name = option[2:].replace("-", "_")
        if name in values:
            raise _other_form(cmd, f"{option} is given twice")
        values[name] = value
    return values


def _other_form(cmd: str, what: str) -> InputError:
    return InputError(f"command {' '.join(cmd.split())!r}: {what}; write it in dvc.yaml as {_FORM}")
