"""One YAML everywhere: what DVC reads of a text, and what a text is written as."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import parse_yaml as parsed_by_dvc

from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import EditedYaml, YamlError, dump_yaml, in_one_line, parse_yaml, read_yaml
from tests.conftest import ROOT
from tests.defaults import DEFAULT_TEXT

_SCALARS = """1e-3 1E5 1e+3 1.e3 .5 5. +.5 -.5 .5e3 1e400 .inf -.INF .nan 0o17 0o8 017 08 0x1F 0X1F 0b11 1_000 1__0
0x_1F -0 +1 on off yes no y n Y NO True TRUE true tRue ~ null Null NULL 12:30:45 12:30 1:2 0.0.1 2019-01-01 9e e9 . -
+ _1 é 😀 "yes" 'no' "1e-3" [yes,no,1e3]"""
SCALARS = _SCALARS.split()
TEXTS = [
    *SCALARS,
    "!!str 3",
    "!!float 3",
    "!!binary aGVsbG8=",
    "{a: 1, b: no}",
    "&a [1]",
    "",
    "# nothing",
    "---",
    "- 1\n- no",
    "\ufeffa: yes",
    "a: yes\r\nb: 1e-3\r\n",
    "a:\tb",
    "a: &x {lr: 1e-3}\nb: *x",
    "a: {<<: {b: 1}, c: 2}",
    "1: 2\nnull: 3\nno: 4",
    "a: |\n  yes\n  no\n",
    "%YAML 1.1\n---\na: on",
    "2019-01-01 10:00:00",
    "!!set {a, b}",
]
BROKEN = {
    "a: 1\nb: 2\na: 3": "line 3, column 1: found duplicate key",
    "a: 1\n\tb: 2": "line 2, column 1: .*indent with spaces",
    "a:\n  - [1, 2\nb: 3": "line 3",
    "a: b: c": "line 1, column 5",
    "a: =": "line 1, column 4",
    "<<": "line 1",
    "a: *x": "line 1, column 4: found undefined alias",
    "a: !!python/object/apply:os.system [ls]": "line 1, column 4",
    "a: !mine 3": "line 1, column 4",
    "--- 1\n--- 2": "line 2",
    "a: \x07": "line 1, column 4",
    "a: [12:30]": "line 1",
    "a: !!float": "line 1, column 4",
    "a: 1\nb: 2019-13-45": "line 2, column 4: month must be",
    "a: @x": "line 1, column 4",
    "...": "line 1",
    'a: "\\ud800"': "line 1",
    f"a: {'9' * 5000}": "line 1, column 4",
}
ENDLESS = {
    "brackets": "[" * 100_000,
    "braces": "{" * 100_000,
    "dashes": "- " * 100_000,
    "itself": "a: &a [*a]",
    "aliases": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)),
}


@pytest.mark.parametrize("text", TEXTS)
def test_dvc_reads_the_same(text: str) -> None:
    # DVC takes an empty file for an empty mapping.
    assert repr(parse_yaml(text, "x") or {}) == repr(parsed_by_dvc(text, "x"))


@pytest.mark.parametrize(("text", "told"), BROKEN.items())
def test_what_is_no_yaml_is_told_in_one_line_with_its_place(text: str, told: str) -> None:
    with pytest.raises(YamlError, match=rf"^params.yaml: not valid YAML \({told}") as raised:
        parse_yaml(text, "params.yaml")
    assert "\n" not in str(raised.value)
    with pytest.raises(Exception):  # noqa: B017
        parsed_by_dvc(text, "params.yaml")


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_what_is_short_and_without_end_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match=r"nested too deep|alias"):
        parse_yaml(text, "x")


def test_many_short_lists_are_not_taken_for_deep_ones() -> None:
    assert parse_yaml(f"a: [{'[1], ' * 600}]", "x") == {"a": [[1]] * 600}


@pytest.mark.parametrize("text", ["yes", "NO", "on", "1e3", "007", "null", "~", "2019-01-01", "12:30", "1_000", "="])
def test_names_are_texts_where_a_file_of_names_is_read(text: str) -> None:
    assert parse_yaml(f"names:\n- {text}", "x", texts=True) == {"names": [text]}
    assert parse_yaml(f"{text}: '{text}'", "x", texts=True) == {text: text}


@pytest.mark.parametrize(
    "value",
    [
        *SCALARS,
        *("", " a", "a ", "a: b", "# c", "a\nb", "\t", "<<", "=", "*a", "&a", "!a", "%", "@", "`", "- a", "[", "{a"),
        *(0.001, 1e-5, 1e22, 5e-324, 1 / 3, 10**30, -1, True, None),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"k": value}])
def test_what_is_written_is_read_again_by_dvc_too(value: Any, wrap: Any) -> None:
    edited = EditedYaml("a: 1  # kept\nb: no\n", "x")
    edited.content["a"] = in_one_line(wrap(value))
    for text in (edited.text(), dump_yaml({"a": wrap(value), "b": "no"})):
        for content in (parse_yaml(text, "x"), parsed_by_dvc(text, "x")):
            assert repr(content) == repr({"a": wrap(value), "b": "no"})
    assert "\n" in value if isinstance(value, str) and "\n" in value else "# kept" in edited.text()


def test_a_text_that_yaml_would_change_is_refused() -> None:
    edited = EditedYaml("a: 1\n", "params.yaml")
    edited.content["a"] = "\x85"
    with pytest.raises(InputError, match=r"params.yaml: a text in it has characters"):
        edited.text()


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("a: é".encode("latin-1"))
    for name, told in {".": "Is a directory", "latin": "byte 4 is not UTF-8"}.items():
        with pytest.raises(InputError, match=told):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize("start", ["\ufeff", "", "# comment\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_params_edited_by_hand_on_any_system_are_read(tmp_path: Path, start: str, end: str) -> None:
    text = DEFAULT_TEXT.replace("momentum: 0.9", "momentum: 9e-1")
    (tmp_path / "params.yaml").write_bytes((start + text.replace("\n", end)).encode())
    assert load_params(tmp_path / "params.yaml").solver.momentum == 0.9


@pytest.mark.parametrize("text", ["", "- a\n", "a", "---\n"])
def test_a_params_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match="must hold one block per stage"):
        load_params(tmp_path / "params.yaml")


def test_nothing_else_reads_or_writes_yaml() -> None:
    found = []
    for path in [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("yaml", "ruamel") or name == "dvc.utils.serialize" for name in names):
                found.append(path.relative_to(ROOT).as_posix())
    assert set(found) == {"pipeline/runtime/yaml_files.py"}
