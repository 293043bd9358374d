"""The golden vectors, for the tests of the product in Python."""

import json
from typing import Any

import pytest
from vectors import generate

from fl_orchestrator.content.cid import Cid

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads(generate.GOLDEN.read_text("utf-8"))


def each(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", GOLDEN[group])


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def as_cid(row: dict[str, Any]) -> Cid:
    return Cid(unhex(row["cidDigest"]), row["cidCodec"])
