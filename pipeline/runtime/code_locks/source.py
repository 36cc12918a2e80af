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
        needed: of those the names that must be modules: `a.b` for `import a.b` and `a` for `from a import b`. What is
            imported within `try`, or by a call, is not among them.
        wanted: of those `a.b` for `from a import b`, which must be a module or something that `a` defines.
    """

    digest: str
    imports: tuple[str, ...]
    needed: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


def read_source(content: bytes, name: str, *, is_package: bool) -> ModuleSource:
    """Parse a module.

    Args:
        name: its absolute name, which relative imports start from.

    Raises:
        SyntaxError: it is not valid Python.
    """
    tree = ast.parse(content)
    package = name if is_package else name.rpartition(".")[0]
    imports: set[str] = set()
    needed: set[str] = set()
    wanted: set[str] = set()
    for node, is_tried in _nodes(tree):
        names = list(_imported_by(node, package))
        imports.update(names)
        if isinstance(node, ast.Import) and not is_tried:
            needed.update(names)
        elif isinstance(node, ast.ImportFrom) and not is_tried:
            needed.add(names[0])
            wanted.update(names[1:] if node.names[0].name != "*" else ())
    digest = hashlib.sha256("".join(_written(tree)).encode()).hexdigest()[:DIGEST_DIGITS]
    return ModuleSource(digest, *(tuple(sorted(names)) for names in (imports, needed, wanted)))


def _written(tree: ast.AST) -> Iterator[str]:
    """A tree as text, in pieces. Not recursive: an `elif` of hundreds lies as deep in the tree."""
    waiting: list[Any] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Piece):
            yield item
        elif isinstance(item, ast.AST):
            yield f"({type(item).__name__}"
            waiting.append(_Piece(")"))
            for field in reversed(item._fields):
                if field in _NO_MEANING:
                    continue
                value = getattr(item, field, None)
                if isinstance(value, list):
                    value = _in_one_piece(value) if isinstance(item, ast.JoinedStr) else _with_meaning(value)
                if value is not None and value != []:
                    waiting += [value, _Piece(f" {field}=")]
        elif isinstance(item, list):
            yield "["
            waiting.append(_Piece("]"))
            for value in reversed(item):
                waiting += [_Piece(","), value]
        elif type(item) is int:
            yield hex(item)  # `repr` refuses thousands of digits
        else:
            yield ascii(item)  # `repr` escapes what this Python's Unicode does not know


class _Piece(str):
    """Text that is written unchanged."""


def _with_meaning(items: list[Any]) -> list[Any]:
    """Without what does nothing: strings that stand alone, which docstrings are, `pass`, and what is for type
    checkers."""
    found: list[Any] = []
    for item in items:
        if isinstance(item, ast.If) and _is_type_checking(item.test):
            found += _with_meaning(item.orelse)
        elif not (isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and _text_of(item.value) is not None)):
            found.append(item)
    return found


def _in_one_piece(values: list[ast.expr]) -> list[ast.expr]:
    """The values of an f-string with the texts between them in one piece each, as versions of Python cut them
    differently, and some leave empty ones."""
    found: list[ast.expr] = []
    for value in values:
        text, before = _text_of(value), _text_of(found[-1]) if found else None
        if text is not None and before is not None:
            found[-1] = ast.Constant(before + text)
        elif text != "":
            found.append(value)
    return found


def _text_of(node: Any) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _nodes(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes but those that type checkers alone look at, each with whether it lies within a `try`."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, is_tried = waiting.pop()
        yield node, is_tried
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += [(child, is_tried) for child in node.orelse]
        else:
            inside = is_tried or isinstance(node, ast.Try)
            waiting += [(child, inside) for child in ast.iter_child_nodes(node)]


def _imported_by(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute("." * node.level + (node.module or ""), package) if node.level else node.module or ""
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = _argument(node, 0, "name")
        if called == "import_module" and name and name.startswith("."):
            yield _absolute(name, _argument(node, 1, "package") or package)
        elif called in ("import_module", "__import__") and name:
            yield name


def _argument(call: ast.Call, place: int, name: str) -> str | None:
    """An argument of a call that is a text; None where it is not given, or computed."""
    given = call.args[place : place + 1] + [keyword.value for keyword in call.keywords if keyword.arg == name]
    return _text_of(given[0]) if given else None


def _absolute(name: str, package: str) -> str:
    """A name that begins with dots, as seen from a package: with one dot below it, with two beside it."""
    below = name.lstrip(".")
    parents = package.split(".")
    return ".".join(filter(None, (*parents[: max(0, len(parents) - (len(name) - len(below)) + 1)], below)))
