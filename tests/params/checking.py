"""What the check of params.yaml says of a content."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.params.file import check_params
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT

COMMITTED = ROOT / "params.yaml"
Content = dict[str, Any]


def fault(content: object) -> str:
    with pytest.raises(InputError) as caught:
        check_params(content, "params.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("params.yaml: ")
    return message


def put(content: Content, where: str, value: object) -> Content:
    *sections, key = where.split(".")
    block = content
    for section in sections:
        block = block[section]
    block[key] = value
    return content
