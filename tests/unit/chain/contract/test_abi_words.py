"""Words of events are decoded as eth_abi decodes them, and refused where it refuses them."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import checksummed, signature_hash, type_of
from fl_orchestrator.chain.contract.words import Undecodable, encoded, words_of

ITEMS: list[Any] = [
    item for name in ("Federation", "PrivateFederation") for item in load_artifact(name).abi
]
EVENTS: list[Any] = [item for item in ITEMS if item["type"] == "event"]
FUNCTIONS: list[Any] = [item for item in ITEMS if item["type"] == "function"]
ADDRESS = "0xFB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"  # of EIP-55's own examples


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


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function["name"])
@given(data=st.binary(max_size=480))
def test_any_answer_of_a_function_gives_what_eth_abi_gives(function: Any, data: bytes) -> None:
    outputs = function["outputs"]
    assert _outcome(lambda: _lowered(words_of(outputs)(data))) == _outcome(
        lambda: decode([type_of(item) for item in outputs], data)
    )


@pytest.mark.parametrize(
    ("kinds", "values"),
    [
        ((), ()),
        (("address",), (ADDRESS,)),
        (("uint8", "uint256"), (255, 1 << 255)),
        (("bytes32", "uint32"), (b"x" * 32, 7)),
        (("bytes4",), (b"abcd",)),
        (("(uint64,bytes32)", "uint8[]"), ((1, b"y" * 32), [1, 2])),
        (("bytes", "bool"), (b"abc", True)),
    ],
)
def test_arguments_are_encoded_as_eth_abi_encodes_them(kinds: Any, values: Any) -> None:
    assert encoded(kinds, values) == encode(kinds, values)


@pytest.mark.parametrize(
    ("kind", "value"), [("uint8", 256), ("uint32", -1), ("bytes32", b"x" * 33), ("address", "0x1g")]
)
def test_an_argument_that_its_type_cannot_hold_is_refused(kind: str, value: Any) -> None:
    with pytest.raises((EncodingError, ValueError)):
        encoded([kind], [value])


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.get("name", item["type"]))
def test_signatures_are_those_of_eth_utils(item: Any) -> None:
    if item["type"] in ("function", "event", "error"):
        assert signature_hash(item) == keccak(text=abi_to_signature(item))


@given(address=st.binary(min_size=20, max_size=20))
def test_addresses_get_the_checksum_of_eth_utils(address: bytes) -> None:
    assert checksummed("0x" + address.hex()) == to_checksum_address(address)
    assert checksummed("0x" + address.hex().upper()) == to_checksum_address(address)


def test_what_is_no_address_gets_no_checksum() -> None:
    for text in ("", ADDRESS[:-1], ADDRESS[2:], f"{ADDRESS}0"):
        with pytest.raises(ValueError, match="is not an address"):
            checksummed(text)


def _outcome(action: Any) -> Any:
    try:
        return action()
    except (DecodingError, Undecodable):
        return "refused"


def _lowered(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v.lower() if isinstance(v, str) and v.startswith("0x") else v for v in values)
