"""A revert becomes the contract's own error, with its arguments and a sentence for a person."""

from pathlib import Path
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_abi_to_4byte_selector
from web3.exceptions import ContractCustomError, MismatchedABI, Web3RPCError

from fl_orchestrator import artifacts
from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract import contract_errors, reverts
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import (
    ContractReverted,
    RequestRefused,
    RevertDecoder,
    revert_data,
)

DECODER = RevertDecoder.of_artifact("Federation")
ARTIFACTS = sorted(path.stem for path in Path(artifacts.__file__).parent.glob("*.json"))
ABIS = [load_artifact(name).abi for name in ARTIFACTS]


def data_of(name: str, types: tuple[str, ...] = (), arguments: tuple[Any, ...] = ()) -> bytes:
    return DECODER.selector(ContractError[name]) + encode(types, arguments)


SEED_PENDING: Final = "0x" + data_of("SeedPending", ("uint256",), (9,)).hex()


def test_a_named_error_is_shown_with_a_sentence() -> None:
    error = DECODER.decode(data_of("NotDrawn"))
    assert (error.error, error.arguments, error.reason) == (ContractError.NotDrawn, (), None)
    assert str(error) == "This party was not drawn in this round. [NotDrawn]"


def test_the_arguments_of_an_error_are_decoded() -> None:
    error = DECODER.decode(data_of("StakeTooLow", ("uint256", "uint256"), (5, 100)))
    assert error.arguments == (5, 100)
    assert (
        str(error) == "The stake is below the minimum. [StakeTooLow(sent 5 wei, minimum 100 wei)]"
    )


def test_the_text_of_invalid_parameters_is_shown() -> None:
    error = DECODER.decode(data_of("InvalidParams", ("string",), ("minUpdates",)))
    assert "InvalidParams(minUpdates)" in str(error)


@pytest.mark.parametrize(
    ("name", "types", "arguments", "shown"),
    [
        ("StakeTooLow", ("uint256", "uint256"), (10**17, 10**18), "sent 0.1 ETH, minimum 1 ETH"),
        ("BondTooLow", ("uint256", "uint256"), (0, 10**16), "paid 0 ETH, bond 0.01 ETH"),
        (
            "BondTooLow",
            ("uint256", "uint256"),
            (10**18 - 1, 2**255 + 1),
            f"paid 0.{'9' * 18} ETH, bond {2**255 // 10**18}.{(2**255 + 1) % 10**18} ETH",
        ),
        ("AnswerOverdue", ("uint256",), (1_700_000_000,), "deadline 2023-11-14 22:13:20 UTC"),
        ("StillUnbonding", ("uint256",), (1_700_000_000,), "unbond at 2023-11-14 22:13:20 UTC"),
        ("DisputeWindowClosed", ("uint256",), (2**256 - 1,), f"end {2**256 - 1}"),
        ("RoundInProgress", ("uint8",), (3,), "phase reveal"),
        ("RoundInProgress", ("uint8",), (99,), "phase 99"),
        ("BeneficiaryMismatch", ("address",), ("0x" + "11" * 20,), "expected 0x" + "11" * 20),
        ("NotEnoughParties", ("uint256", "uint256"), (1, 3), "active 1, min updates 3"),
        ("InvalidParams", ("string",), ("x\x1b[31m" + "y" * 9999,), "x [31m" + "y" * 494),
    ],
)
def test_arguments_are_shown_in_words(
    name: str, types: tuple[str, ...], arguments: tuple[Any, ...], shown: str
) -> None:
    error = DECODER.decode(data_of(name, types, arguments))
    assert error.message.endswith(f" [{name}({shown})]")
    assert error.arguments == arguments


def test_every_argument_of_an_error_has_a_name() -> None:
    """The amounts and the times among them are told by it."""
    names = {i["name"] for abi in ABIS for e in abi if e["type"] == "error" for i in e["inputs"]}
    assert names >= (reverts._AMOUNTS | reverts._TIMES)
    assert "" not in names


def test_a_refused_batch_says_why_its_first_item_failed() -> None:
    reason = DECODER.selector(ContractError.AlreadyCommitted)
    error = DECODER.decode(data_of("NothingAccepted", ("bytes4",), (reason,)))
    assert (error.error, error.reason, error.cause) == (
        ContractError.NothingAccepted,
        ContractError.AlreadyCommitted,
        ContractError.AlreadyCommitted,
    )
    assert "has already committed" in str(error)
    assert str(error).endswith("[NothingAccepted: AlreadyCommitted]")


def test_a_batch_refused_for_an_unknown_reason_shows_its_selector() -> None:
    error = DECODER.decode(data_of("NothingAccepted", ("bytes4",), (b"\1\2\3\4",)))
    assert error.reason == error.cause == b"\1\2\3\4"
    assert error.message.endswith(" [NothingAccepted: 0x01020304]")


def test_an_error_alone_is_its_own_cause() -> None:
    assert DECODER.decode(data_of("NotDrawn")).cause is ContractError.NotDrawn


def test_an_unknown_selector_is_shown_as_it_came() -> None:
    error = DECODER.decode(b"\xde\xad\xbe\xef" + bytes(32))
    assert error.error == b"\xde\xad\xbe\xef" + bytes(32)
    assert error.message.startswith("The contract refused the call. [0xdeadbeef")


def test_a_revert_without_data_is_a_revert() -> None:
    error = DECODER.decode(b"")
    assert (error.error, error.message) == (b"", "The contract refused the call. [Reverted]")


@pytest.mark.parametrize("cut", [1, 3, 4, 20, 67])
def test_truncated_revert_data_is_shown_as_it_came(cut: int) -> None:
    data = data_of("StakeTooLow", ("uint256", "uint256"), (5, 100))[:cut]
    error = DECODER.decode(data)
    assert error.error == data
    assert error.message.endswith(f" [0x{data.hex()}]")


def test_an_error_of_a_linked_library_is_named() -> None:
    error = DECODER.decode(data_of("IndexOutOfTree", ("uint256", "uint256"), (5, 2)))
    assert str(error) == "The tree has no chunk at that index. [IndexOutOfTree(index 5, depth 2)]"
    with pytest.raises(StopIteration):
        RevertDecoder(load_artifact("Federation").abi).selector(ContractError.IndexOutOfTree)


def test_the_errors_with_a_sentence_are_those_that_the_contracts_declare() -> None:
    declared = {item["name"] for abi in ABIS for item in abi if item["type"] == "error"}
    assert {error.name for error in ContractError} == declared


@pytest.mark.parametrize("error", ContractError, ids=lambda error: error.name)
def test_a_sentence_is_one(error: ContractError) -> None:
    assert ContractReverted(error).message == f"{error.sentence()} [{error.name}]"
    assert error.sentence()[0].isupper()
    assert error.sentence().endswith(".")


@pytest.mark.parametrize(
    ("function", "subject"),
    [("commit", "The commit is"), ("attest", "The result is"), ("finalize", "The call is")],
)
def test_what_is_for_another_round_is_named_by_the_function(function: str, subject: str) -> None:
    abi: Any = load_artifact("Federation").abi
    (called,) = (item for item in abi if item.get("name") == function)
    data = data_of("WrongRound", ("uint32",), (3,))
    error = DECODER.decode(data, bytes(function_abi_to_4byte_selector(called)) + bytes(64))
    assert error.message.startswith(f"{subject} for another round")
    assert error.message.endswith("[WrongRound(round 3)]")


def test_a_sentence_for_one_function_belongs_to_a_function_of_the_contract() -> None:
    functions = {item["name"] for abi in ABIS for item in abi if item["type"] == "function"}
    assert {function for _, function in contract_errors._OF_FUNCTIONS} <= functions


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0x01020304", b"\1\2\3\4"),
        ({"data": "0x01020304"}, b"\1\2\3\4"),
        (b"\1\2", b"\1\2"),
        ("0x", b""),
        (None, b""),
        ("0xzz", b""),
        ("execution reverted", b""),
        ({"data": None}, b""),
    ],
)
def test_revert_data_is_found_wherever_nodes_put_it(data: Any, expected: bytes) -> None:
    assert revert_data(data) == expected


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted: custom error", "data": SEED_PENDING},
        {"code": -32000, "message": "VM Exception", "data": {"data": SEED_PENDING}},
        {"code": -32015, "message": "VM execution error", "data": SEED_PENDING},
    ],
)
def test_a_revert_in_a_nodes_answer_becomes_the_contracts_error(error: dict[str, Any]) -> None:
    wanted = pytest.raises(ContractReverted, match=r"SeedPending\(seed block 9\)")
    with wanted, DECODER.translated():
        raise RequestRefused.of(error)


def test_a_revert_that_a_node_only_tells_of_is_one_without_data() -> None:
    with pytest.raises(ContractReverted, match="Reverted"), DECODER.translated():
        raise RequestRefused.of({"code": -32000, "message": "execution reverted"})


def test_another_refusal_in_a_nodes_answer_stays_one() -> None:
    with pytest.raises(RequestRefused, match="request: header not found"), DECODER.translated():
        raise RequestRefused.of({"code": -32000, "message": "header not found"})


def test_a_revert_on_the_way_becomes_the_contracts_error() -> None:
    with (
        pytest.raises(ContractReverted, match=r"SeedPending\(seed block 9\)"),
        DECODER.translated(),
    ):
        raise ContractCustomError(SEED_PENDING, data=SEED_PENDING)


def test_the_refusal_of_a_node_is_shown_in_its_words() -> None:
    response: Any = {"error": {"code": -32000, "message": "nonce too low"}}
    wanted = pytest.raises(RequestRefused, match=r"refused a request: nonce too low\.")
    with wanted, DECODER.translated():
        raise Web3RPCError(repr(response["error"]), rpc_response=response)


def test_wrong_arguments_are_not_blamed_on_the_node() -> None:
    with pytest.raises(MismatchedABI), DECODER.translated():
        raise MismatchedABI("no such function")
