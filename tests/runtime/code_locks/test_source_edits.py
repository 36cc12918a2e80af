"""Every edit that Python can notice changes the digest of a source."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.code_locks.digests import digest, own_sources

EDITS = [
    ("x = a + b", "x = a - b"),
    ("x = a < b", "x = a <= b"),
    ("x = a is b", "x = a == b"),
    ("x = a and b", "x = a or b"),
    ("x = a and b or c", "x = a and (b or c)"),
    ("x = a < b < c", "x = (a < b) < c"),
    ("x = a - b - c", "x = a - (b - c)"),
    ("x = not a", "x = ~a"),
    ("x = 1", "x = 2"),
    ("x = 1", "x = -1"),
    ("x = 1", "x = True"),
    ("x = 1", "x = 1.0"),
    ("x = 1.0", "x = True"),
    ("x = 1", "x = 1j"),
    ("x = 1", "x = '1'"),
    ("x = 0.0", "x = -0.0"),
    ("x = 0.1", "x = 0.1000000000000001"),
    ("x = 0", "x = None"),
    ("x = 0", "x = False"),
    ("x = None", "x = 'None'"),
    ("x = None", "x = ..."),
    ("x = ''", "x = None"),
    ("x = ''", "x = b''"),
    ("x = 'a'", "x = b'a'"),
    ("x = 'a'", "x = 'a '"),
    ("x = 'a'", "x = a"),
    ("x = '\\n'", "x = '\\\\n'"),
    ("x = '\\ud800'", "x = '\\\\ud800'"),
    ("x = '\u00e9'", "x = 'e\u0301'"),
    ("x = 0x1", "x = '0x1'"),
    ("x = " + "9" * 4000, "x = " + "9" * 3999 + "8"),
    ("x = ['a', 'b']", "x = ['ab']"),
    ("x = ['a', 'b']", "x = ('a', 'b')"),
    ("x = ['a']", "x = {'a'}"),
    ("x = []", "x = ()"),
    ("x = {}", "x = set()"),
    ("x = (1)", "x = (1,)"),
    ("x = {'a': 1}", "x = {1: 'a'}"),
    ("x = {**a, 'b': 1}", "x = {'b': 1, **a}"),
    ("x = {**a}", "x = {None: a}"),
    ("x = a", "x += a"),
    ("x = a", "x: int = a"),
    ("x: int", "x: float"),
    ("x: int", "x: 'int'"),
    ("x: int", "x: int = 0"),
    ("x = a", "y = a"),
    ("x = a", "x = a.b"),
    ("x = a.b", "x = b.a"),
    ("x = a", "x = a()"),
    ("x = y = a", "y = x = a"),
    ("x, y = a", "(x,), y = a"),
    ("x, y = a", "x, *y = a"),
    ("x = 1\ny = 2", "y = 2\nx = 1"),
    ("x = 1", "x = 1\nx = 1"),
    ("x = 1", "del x"),
    ("x = f'{a}'", "x = f'{b}'"),
    ("x = f'{a}'", "x = f'{a!r}'"),
    ("x = f'{a!s}'", "x = f'{a}'"),
    ("x = f'{a}'", "x = f'{a:>5}'"),
    ("x = f'{a:>5}'", "x = f'{a:>6}'"),
    ("x = f'{a:>{w}}'", "x = f'{a:<{w}}'"),
    ("x = f'{a}'", "x = f'{a=}'"),
    ("x = f'{a=}'", "x = f'{a = }'"),
    ("x = f'{a}'", "x = f'{{a}}'"),
    ("x = f'{{a}}'", "x = '{{a}}'"),
    ("x = f'a{b}'", "x = f'{b}a'"),
    ("x = f'a{b}c'", "x = f'ac{b}'"),
    ("x = f'{a}{b}'", "x = f'{b}{a}'"),
    ("x = f'{a}{b}'", "x = f'{a} {b}'"),
    ("x = f'{a:x}'", "x = f'{a}x'"),
    ("x = lambda a: a", "x = lambda a: b"),
    ("x = lambda a: a", "x = lambda *a: a"),
    ("x = lambda: a", "x = a"),
    ("f(a, b)", "f(b, a)"),
    ("f(a)", "f(*a)"),
    ("f(*a)", "f(**a)"),
    ("f(a=b)", "f(b=a)"),
    ("f(a=b)", "f(a == b)"),
    ("f(a, b)", "f((a, b))"),
    ("f(a)", "f[a]"),
    ("x = a[1]", "x = a[1:]"),
    ("x = a[1:]", "x = a[:1]"),
    ("x = a[::1]", "x = a[:1]"),
    ("x = a[1, 2]", "x = a[1][2]"),
    ("x = [a for a in b]", "x = (a for a in b)"),
    ("x = [a for a in b]", "x = [a for a in b if a]"),
    ("x = [a for a in b for c in d]", "x = [a for c in d for a in b]"),
    ("x = a if b else c", "x = c if b else a"),
    ("(x := a)", "x == a"),
    ("if a:\n    b()", "while a:\n    b()"),
    ("if a:\n    b()\nelse:\n    c()", "if a:\n    c()\nelse:\n    b()"),
    ("if a:\n    b()\nelse:\n    c()", "if a:\n    b()\nc()"),
    ("if a:\n    b()\nelif c:\n    d()", "if a:\n    b()\nif c:\n    d()"),
    ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
    ("if a:\n    pass\nelse:\n    b()", "if a:\n    b()\nelse:\n    pass"),
    ("if TYPE_CHECKING:\n    a()\nelse:\n    b()", "if TYPE_CHECKING:\n    a()\nelse:\n    c()"),
    ("if not TYPE_CHECKING:\n    a()", "if not TYPE_CHECKING:\n    b()"),
    ("if TYPE_CHECKING or x:\n    a()", "if TYPE_CHECKING or x:\n    b()"),
    ("for a in b:\n    c()", "for b in a:\n    c()"),
    ("for a in b:\n    continue", "for a in b:\n    break"),
    ("for a in b:\n    c()\nelse:\n    d()", "for a in b:\n    c()\nd()"),
    ("try:\n    a()\nexcept B:\n    c()", "try:\n    a()\nexcept D:\n    c()"),
    ("try:\n    a()\nexcept B:\n    c()", "try:\n    a()\nexcept:\n    c()"),
    ("try:\n    a()\nexcept B:\n    c()", "try:\n    a()\nexcept B as c:\n    c()"),
    ("try:\n    a()\nexcept B:\n    c()", "try:\n    a()\nexcept* B:\n    c()"),
    ("try:\n    a()\nexcept B:\n    pass\nelse:\n    c()", "try:\n    a()\nexcept B:\n    pass\nfinally:\n    c()"),
    ("raise A", "raise A from None"),
    ("with a:\n    c()", "with a as b:\n    c()"),
    ("with a, b:\n    c()", "with b, a:\n    c()"),
    ("def f():\n    return", "def g():\n    return"),
    ("def f():\n    return a", "async def f():\n    return a"),
    ("def f():\n    return a", "def f():\n    yield a"),
    ("def f():\n    yield a", "def f():\n    yield from a"),
    ("def f():\n    return a", "@cache\ndef f():\n    return a"),
    ("@a\n@b\ndef f(): pass", "@b\n@a\ndef f(): pass"),
    ("@a\ndef f(): pass", "@a()\ndef f(): pass"),
    ("def f(a): pass", "def f(b): pass"),
    ("def f(a): pass", "def f(a: int): pass"),
    ("def f(a): pass", "def f(a=None): pass"),
    ("def f(a=1): pass", "def f(a=2): pass"),
    ("def f(a, b=1): pass", "def f(a=1, b=1): pass"),
    ("def f(a, b): pass", "def f(a, *, b): pass"),
    ("def f(a, b): pass", "def f(a, /, b): pass"),
    ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
    ("def f(*a): pass", "def f(**a): pass"),
    ("def f(): pass", "def f() -> None: pass"),
    ("def f() -> A: pass", "def f() -> B: pass"),
    ("def f():\n    global a, b", "def f():\n    global a\n    b"),
    ("def f():\n    global a", "def f():\n    nonlocal a"),
    ("class A: pass", "class A(B): pass"),
    ("class A(B): pass", "class A(metaclass=B): pass"),
    ("class A:\n    x = 1", "class A:\n    pass\nx = 1"),
    ("async def f():\n    await a", "async def f():\n    a"),
    ("async def f():\n    async for a in b: c()", "async def f():\n    for a in b: c()"),
    ("async def f():\n    async with a: c()", "async def f():\n    with a: c()"),
    ("async def f():\n    x = [a async for a in b]", "async def f():\n    x = [a for a in b]"),
    ("match a:\n    case 1: b()", "match a:\n    case 2: b()"),
    ("match a:\n    case [x]: b()", "match a:\n    case [*x]: b()"),
    ("match a:\n    case {'k': x}: b()", "match a:\n    case {'k': x, **y}: b()"),
    ("match a:\n    case A(x=1): b()", "match a:\n    case A(y=1): b()"),
    ("match a:\n    case None: b()", "match a:\n    case _: b()"),
    ("match a:\n    case x: b()", "match a:\n    case x if y: b()"),
    ("match a:\n    case 1 | 2: b()", "match a:\n    case 2 | 1: b()"),
    ("import a", "import b"),
    ("import a", "import a as b"),
    ("import a.b", "from a import b"),
    ("from a import b", "from a import b as c"),
    ("from a import b", "from .a import b"),
    ("from .a import b", "from ..a import b"),
    ("from a import b", "from a import *"),
    ("from __future__ import annotations\nx: int", "x: int"),
    ("assert a", "assert a, b"),
    ("b'a'", "b'b'"),
    ("def f():\n    ...", "def f():\n    pass"),
    ("", "x"),
]


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_every_edit_that_python_notices_changes_the_digest(before: str, after: str) -> None:
    assert digest(before) != digest(after)


def test_no_two_modules_of_thousands_have_one_digest() -> None:
    values = ("1", "True", "1.0", "'1'", "b'1'", "None", "''", "a", "-1")
    values += ("f'{a}'", "f'a'", "'a'", "()", "[1]", "{1}", "a.a")
    statements = ("x = {}", "x: {} = {}", "{}", "return {}", "x = ({}, {})", "x = {} + {}", "x = {}({})", "x = {}[{}]")
    frames = (
        "{}",
        "if a:\n    {}",
        "if a:\n    pass\nelse:\n    {}",
        "def f():\n    {}",
        "class A:\n    {}",
        "{0}\n{0}",
    )
    trees: dict[str, str] = {}
    for statement in statements:
        for chosen in itertools.product(values, repeat=statement.count("{}")):
            for frame in frames:
                source = frame.format(statement.format(*chosen))
                if statement == "{}" and chosen[0].startswith("'"):
                    continue  # a text that stands alone
                trees[ast.dump(ast.parse(source))] = digest(source)
    assert len(trees) > 7000
    assert len(set(trees.values())) == len(trees)


def _edits(tree: ast.Module) -> list[Callable[[], None]]:
    """Single edits of a tree, each with another meaning."""
    edits: list[Callable[[], None]] = []
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for part in (node.test, *node.body)
        for below in ast.walk(part)
    }

    def edit(node: ast.AST, field: str, value: object) -> None:
        edits.append(lambda: setattr(node, field, value))

    in_f_strings = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and id(node) not in alone:
            changed = {str: lambda v: v + "x", bytes: lambda v: v + b"x", bool: lambda v: not v, int: lambda v: v + 1}
            changed |= {float: lambda v: v + 1.5, type(None): lambda v: 0}
            if (type(node.value) is str or id(node) not in in_f_strings) and type(node.value) in changed:
                edit(node, "value", changed[type(node.value)](node.value))
        elif isinstance(node, ast.Name):
            edit(node, "id", f"{node.id}_")
        elif isinstance(node, ast.Attribute):
            edit(node, "attr", f"{node.attr}_")
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            edit(node, "arg", f"{node.arg}_")
        elif isinstance(node, ast.BinOp):
            edit(node, "op", ast.MatMult() if not isinstance(node.op, ast.MatMult) else ast.Add())
        elif isinstance(node, ast.Compare):
            edit(node, "ops", [ast.Is() if not isinstance(node.ops[0], ast.Is) else ast.Eq(), *node.ops[1:]])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            edit(node, "name", f"{node.name}_")
            edit(node, "decorator_list", [*node.decorator_list, ast.Name("added")])
            edit(node, "body", [*node.body, ast.Assert(ast.Name("added"))])
    return edits


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_one_edit_anywhere_in_this_projects_sources_changes_the_digest(data: st.DataObject) -> None:
    short = [(path, text) for path, text in own_sources() if "def " in text and len(text) < 5000]
    path, text = data.draw(st.sampled_from(short))
    tree = ast.parse(text)
    data.draw(st.sampled_from(_edits(tree)))()
    edited = ast.unparse(ast.fix_missing_locations(tree))
    assert digest(edited) != digest(text), path


def test_depth_is_no_limit_where_it_is_none_of_pythons() -> None:
    choices = "if x == 0:\n    y = 0\n" + "".join(f"elif x == {i}:\n    y = {i}\n" for i in range(1, 600))
    assert digest(choices) != digest(choices.replace("y = 599", "y = 600"))
    total = "x = " + " + ".join("a" * 700)
    assert digest(total) != digest(total.replace("x = a", "x = b"))
