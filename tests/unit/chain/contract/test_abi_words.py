"""Words of events are decoded as eth_abi decodes them, and refused where it refuses them."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract.words import words_of

EVENTS: list[Any] = [
    item
    for name in ("Federation", "PrivateFederation")
    for item in load_artifact(name).abi
    if item["type"] == "event"
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["name"])
@given(data=st.binary(max_size=480))
def test_any_data_gives_what_eth_abi_gives(event: Any, data: bytes) -> None:
    plain = [item for item in event["inputs"] if not item["indexed"]]
    assert _outcome(lambda: _lowered(words_of(plain)(data))) == _outcome(
        lambda: decode([collapse_if_tuple(item) for item in plain], data)
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("uint8", 255), ("uint96", 1 << 90), ("uint256", (1 << 256) - 1), ("int256", -5)),
        *(
            ("bool", True),
            ("bytes4", b"abcd"),
            ("bytes32", b"x" * 32),
            ("address", "0x" + "ab" * 20),
        ),
    ],
)
def test_a_word_is_read_and_one_with_more_than_its_type_is_refused(kind: str, value: Any) -> None:
    read = words_of([{"name": "x", "type": kind}])
    data = encode([kind], [value])
    assert _lowered(read(data)) == (value,)
    for changed in (bytes([data[0] ^ 0x80]) + data[1:], data[:-1] + bytes([data[-1] ^ 0x80])):
        assert _outcome(lambda changed=changed: _lowered(read(changed))) == _outcome(
            lambda changed=changed: decode([kind], changed)
        )


def _outcome(action: Any) -> Any:
    try:
        return action()
    except DecodingError:
        return "refused"


def _lowered(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v.lower() if isinstance(v, str) and v.startswith("0x") else v for v in values)
