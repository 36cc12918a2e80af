"""What Python does not notice changes no digest: comments, docstrings, layout and encoding."""

from __future__ import annotations

import ast
import io
import random
import tokenize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.code_locks.digests import digest, own_sources

BASE = '''"""About the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

LIMIT: int = 3
"""The most."""


class Ball(Thing, kind="round"):
    """About the class."""

    radius: float = 1.5
    """In metres."""

    def volume(self, scale: float = 1.0) -> float:
        """About the method."""
        if scale < 0:
            raise ValueError(f"a scale of {scale!r} is below {0}")
        return 4 / 3 * PI * (self.radius * scale) ** 3
'''

LAYOUT = {
    "comments": BASE.replace("\n", "  # why\n").replace('"""About the method."""  # why', '"""About the method."""'),
    "comment lines": BASE.replace("\n\n", "\n# why\n    # why not\n"),
    "module docstring edited": BASE.replace("About the module", "Of the module"),
    "module docstring gone": BASE.removeprefix('"""About the module."""\n'),
    "class docstring edited": BASE.replace("About the class", "Over\n\n    several lines"),
    "class docstring gone": BASE.replace('    """About the class."""\n', ""),
    "method docstring edited": BASE.replace("About the method", "Of it"),
    "method docstring gone": BASE.replace('        """About the method."""\n', ""),
    "attribute docstrings gone": BASE.replace('"""The most."""\n', "").replace('    """In metres."""\n', ""),
    "docstring in other quotes": BASE.replace('"""The most."""', "r'''The \\most'''"),
    "blank lines": BASE.replace("\n", "\n\n\n"),
    "no blank lines": BASE.replace("\n\n", "\n"),
    "indentation": BASE.replace("    ", "  "),
    "tabs": BASE.replace("    ", "\t"),
    "spaces": BASE.replace(" = ", "  =  ").replace(" * ", "*").replace("(self, ", "( self ,"),
    "line breaks in brackets": BASE.replace("(self.radius * scale)", "(\n    self.radius\n    * scale\n)"),
    "lines joined by a backslash": BASE.replace("4 / 3 * PI", "4 / 3 \\\n    * PI"),
    "trailing comma": BASE.replace("float = 1.0)", "float = 1.0,)").replace('"round")', '"round",)'),
    "quotes": BASE.replace('"round"', "'round'").replace('f"a scale', "f'''a scale").replace('{0}"', "{0}'''"),
    "a text in two pieces": BASE.replace('f"a scale of ', '"a scale " f"of '),
    "a text's prefix": BASE.replace('"round"', 'u"round"'),
    "an escape": BASE.replace('"round"', '"r\\x6fund"'),
    "parentheses": BASE.replace("return 4 / 3", "return (4 / 3)").replace("if scale < 0:", "if (scale < 0):"),
    "parentheses of an import": BASE.replace("import TYPE_CHECKING", "import (TYPE_CHECKING)"),
    "how a number is written": BASE.replace("1.5", "15e-1").replace("= 3", "= 0b11"),
    "semicolons": BASE.replace("LIMIT: int = 3\n", "LIMIT: int = 3;\n"),
    "body on the line": BASE.replace("0:\n            raise", "0: raise"),
    "pass beside a docstring": BASE.replace('"""About the class."""\n', '"""About the class."""\n    pass\n'),
    "pass in place of a docstring": BASE.replace('"""About the class."""', "pass"),
    "form feed": BASE.replace("\nclass", "\n\x0cclass"),
    "no line end at the end": BASE.rstrip("\n"),
    "for type checkers": BASE.replace("LIMIT", "if TYPE_CHECKING:\n    import a.b\n    X = 1\nLIMIT", 1),
    "for type checkers, by the module": BASE.replace("LIMIT", "if typing.TYPE_CHECKING:\n    X = 1\nLIMIT", 1),
    "for type checkers, or else": BASE.replace("LIMIT", "if TYPE_CHECKING:\n    X = 1\nelse:\n    LIMIT", 1),
    "for type checkers, in a class": BASE.replace("    radius", "    if TYPE_CHECKING:\n        x: int\n    radius", 1),
}


@pytest.mark.parametrize("name", LAYOUT)
def test_comments_docstrings_and_layout_change_no_digest(name: str) -> None:
    assert LAYOUT[name] != BASE
    assert digest(LAYOUT[name]) == digest(BASE)


@pytest.mark.parametrize(
    "content",
    [
        BASE.replace("\n", "\r\n").encode(),
        BASE.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + BASE.encode(),
        b"# -*- coding: utf-8 -*-\n" + BASE.encode(),
        b"#!/usr/bin/env python3\n# vim: set fileencoding=ascii :\n" + BASE.encode(),
    ],
)
def test_line_ends_and_the_declared_encoding_change_no_digest(content: bytes) -> None:
    assert digest(content) == digest(BASE)


def test_a_text_counts_as_it_reads_in_its_encoding() -> None:
    text = 'NAME = "caf\xe9"\n'
    latin, line_ends = "# coding: latin-1\n" + text, 'X = """a\nb"""\n'
    other = b"# coding: cp437\n" + text.encode("latin-1")
    assert digest(latin.encode("latin-1")) == digest(text) != digest(other)
    assert digest(line_ends.replace("\n", "\r\n")) == digest(line_ends) != digest(line_ends.replace("\n", " "))


def test_layout_by_another_hand_changes_no_digest_of_this_projects_sources() -> None:
    for path, text in own_sources()[::4]:  # test_edits.py has all that stages run
        assert digest(ast.unparse(ast.parse(text))) == digest(text), path


def _ends_of_statements(text: str) -> set[int]:
    """Numbers of the lines, from 0, that a statement or its first line ends with."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0] - 1 for token in tokens if token.type == tokenize.NEWLINE}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_comments_and_blank_lines_anywhere_change_no_digest(data: st.DataObject) -> None:
    _, text = data.draw(st.sampled_from(own_sources()))
    ends, lines = _ends_of_statements(text), text.splitlines()
    comment = "# " + data.draw(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=8))
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    written = []
    for number, line in enumerate(lines):
        written.append(f"{line}  {comment}" if number in ends and draw.random() < 0.3 else line)
        if number in ends and draw.random() < 0.3:
            written += draw.choice(([""], ["", "   ", ""], [" " * draw.randrange(9) + comment]))
    assert digest("\n".join(written) + "\n") == digest(text)
