"""YAML, read and written in one place: YAML 1.2 as DVC reads it, so that both see the same values in params.yaml.

`1e-3` is a number; `yes`, `no`, `on`, `off` and `12:30` are texts. Tags that make objects are refused.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from pipeline.runtime.errors import InputError

_TEXT = "tag:yaml.org,2002:str"
_MOST_VALUES = 1_000_000
_LONGEST_PROBLEM = 200
_MANY_BRACKETS = 500
_OF_VALUES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What ruamel raises for values that it takes apart, such as a date of the 13th month, or a !!float without a digit."""
_DEEP_BLOCK = re.compile(r"^[ \t?:-]{200}", re.MULTILINE)


class YamlError(InputError):
    """A text that is not YAML, with its line and column."""


class _Constructor(SafeConstructor):
    """DVC's, with the line of a value such as the date 2019-13-45."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except _OF_VALUES as error:
            raise ConstructorError(None, None, str(error), node.start_mark) from error


class _TextResolver(VersionedResolver):
    """Reads every scalar without a tag as text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        return _TEXT if kind is ScalarNode else super().resolve(kind, value, implicit)


def parse_yaml(text: str, source: Path | str, *, texts: bool = False) -> Any:
    """The content of a YAML text; None where it is empty.

    Args:
        source: what an error calls it. texts: take every scalar for a text, as `no` in a list of names.

    Raises:
        YamlError: it is not YAML, has a key twice, a tag that is not YAML's own, or aliases without end.
    """
    # The parser in C, which DVC takes too, is ten times faster, but ends the process where it is nested too deep.
    deep = text.count("[") + text.count("{") > _MANY_BRACKETS or _DEEP_BLOCK.search(text)
    yaml = YAML(typ="safe", pure=bool(deep))
    yaml.Constructor = _Constructor
    if texts:
        yaml.Resolver = _TextResolver
    content = _load(yaml, text, source)
    if "&" in text and "*" in text:
        _refuse_endless(content, source)
    return content


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        YamlError: as `parse_yaml`, or it is not UTF-8. FileNotFoundError: there is none. InputError: it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not valid YAML (byte {error.start + 1} is not UTF-8); save it as UTF-8") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give a file that can be read") from error
    return parse_yaml(text, path)


def dump_yaml(content: Any) -> str:
    """The text of plain content, keys in their order."""
    yaml = _editor()
    yaml.default_flow_style = False
    return _dump(yaml, content)


class EditedYaml:
    """A YAML text whose values are changed and whose comments stay; `content` is what is to be changed.

    Raises:
        YamlError: it is not YAML.
    """

    def __init__(self, text: str, source: Path | str) -> None:
        self._source = source
        self._yaml = _editor()
        parse_yaml(text, source)
        self.content: CommentedMap = _load(self._yaml, text, source)

    def text(self) -> str:
        """The text as changed.

        Raises:
            InputError: a value of `content` would be read as another.
        """
        text = _dump(self._yaml, self.content)
        if parse_yaml(text, self._source) != self.content:
            raise InputError(f"{self._source}: a text in it has characters that YAML would not keep; choose another")
        return text


def in_one_line(value: Any) -> Any:
    """A value to put into `EditedYaml.content`, its lists and mappings written as [a, b] and {a: b}."""
    node: Any
    if isinstance(value, dict):
        node = CommentedMap((key, in_one_line(inner)) for key, inner in value.items())
    elif isinstance(value, list):
        node = CommentedSeq(in_one_line(inner) for inner in value)
    else:
        # The parser in C takes a colon in [12:30] for that of a mapping.
        return SingleQuotedScalarString(value) if isinstance(value, str) and ":" in value else value
    node.fa.set_flow_style()
    return node


def _editor() -> YAML:
    yaml = YAML()
    yaml.width = 10_000
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _dump(yaml: YAML, content: Any) -> str:
    dumped = io.StringIO()
    yaml.dump(content, dumped)
    return dumped.getvalue()


def _load(yaml: YAML, text: str, source: Path | str) -> Any:
    try:
        return yaml.load(text)
    except RecursionError as error:
        raise YamlError(f"{source}: not valid YAML (nested too deep)") from error
    except (YAMLError, *_OF_VALUES) as error:
        raise YamlError(f"{source}: not valid YAML ({_fault_of(error, text)})") from error


def _fault_of(error: Exception, text: str) -> str:
    """Line, column and what is wrong there."""
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    if mark is not None:
        line, column = mark.line + 1, mark.column + 1
        problem = str(error.problem or error.context).split("\n")[0]  # type: ignore[attr-defined]
    elif isinstance(position := getattr(error, "position", None), int):
        before = text[:position]
        line, column = before.count("\n") + 1, position - before.rfind("\n")
        problem = getattr(error, "reason", "") or "a character that YAML does not allow"
    else:
        return " ".join(str(error).split())[:_LONGEST_PROBLEM]
    lines = text.split("\n")
    indentation = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())] if line <= len(lines) else ""
    tab = "; indent with spaces, not tabs" if "\t" in indentation else ""
    return f"line {line}, column {column}: {' '.join(problem.split())[:_LONGEST_PROBLEM]}{tab}"


def _refuse_endless(content: Any, source: Path | str) -> None:
    """Refuse what is short as a text and without end, or too large, where its aliases are followed."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: Any) -> int:
        if not isinstance(node, dict | list | tuple | set):
            return 1
        if id(node) in open_:
            raise YamlError(f"{source}: not valid YAML (an alias stands inside of what it names)")
        if id(node) not in sizes:
            open_.add(id(node))
            inner = [*node.keys(), *node.values()] if isinstance(node, dict) else list(node)
            sizes[id(node)] = 1 + sum(size(each) for each in inner)
            open_.remove(id(node))
        return sizes[id(node)]

    if size(content) > _MOST_VALUES:
        raise YamlError(f"{source}: not valid YAML (its aliases stand for more than {_MOST_VALUES:,} values)")
