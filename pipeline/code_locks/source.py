"""One module's source: what it imports, and a digest that comments, docstrings and layout do not change.

The digest is taken from the syntax tree. `ast.dump` and `ast.unparse` differ between versions of Python. What is
written here does not, as fields that are empty are left out: every field that a version has added is empty in the code
of the versions before it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DIGEST_DIGITS = 16
_NO_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


@dataclass(frozen=True)
class ModuleSource:
    """What matters of a module.

    Attributes:
        digest: 16 hexadecimal digits.
        imports: absolute names it imports wherever they stand, `a.b` for `import a.b` and both `a` and `a.b` for `from
            a import b`, where b may be a module or not.
    """

    digest: str
    imports: tuple[str, ...]


def read_source(content: bytes, name: str, *, is_package: bool) -> ModuleSource:
    """Parse a module.

    Args:
        name: its absolute name, which relative imports start from.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(content)
    package = name if is_package else name.rpartition(".")[0]
    imports = sorted({imported for node in _nodes(tree) for imported in _imported_by(node, package)})
    parts: list[str] = []
    _write(tree, parts)
    return ModuleSource(hashlib.sha256("".join(parts).encode()).hexdigest()[:DIGEST_DIGITS], tuple(imports))


def _write(node: ast.AST, parts: list[str]) -> None:
    parts.append(f"({type(node).__name__}")
    for field in node._fields:
        if field in _NO_MEANING:
            continue
        value = getattr(node, field, None)
        if isinstance(value, list):
            value = _with_meaning(value)
        if value is None or value == []:
            continue
        parts.append(f" {field}=")
        _write_value(value, parts)
    parts.append(")")


def _write_value(value: Any, parts: list[str]) -> None:
    if isinstance(value, ast.AST):
        _write(value, parts)
    elif isinstance(value, list):
        parts.append("[")
        for item in value:
            _write_value(item, parts)
            parts.append(",")
        parts.append("]")
    elif type(value) is int:
        parts.append(hex(value))  # `repr` refuses thousands of digits
    else:
        parts.append(repr(value))


def _with_meaning(items: list[Any]) -> list[Any]:
    """Without what does nothing: strings that stand alone, which docstrings are, `pass`, and what is for type checkers;
    with the texts between the values of an f-string in one piece, which versions of Python cut differently."""
    found: list[Any] = []
    for item in items:
        if isinstance(item, ast.If) and _is_type_checking(item.test):
            found += _with_meaning(item.orelse)
        elif isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and _text_of(item.value) is not None):
            continue
        elif found and _text_of(item) is not None and _text_of(found[-1]) is not None and _is_in_f_string(items):
            found[-1] = ast.Constant(f"{_text_of(found[-1])}{_text_of(item)}")
        else:
            found.append(item)
    return found


def _is_in_f_string(items: list[Any]) -> bool:
    # Of all lists of a tree those alone hold texts beside formatted values, and nothing else.
    return any(isinstance(item, ast.FormattedValue) for item in items)


def _text_of(node: Any) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that type checkers alone look at."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _imported_by(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        start = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        base = ".".join(filter(None, (start, node.module)))
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and (name := _text_of(node.args[0])):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__"):
            yield name
