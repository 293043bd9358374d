"""The dataclasses mirror the contract's structs, in both directions."""

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.observations import seen

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import from_abi, to_abi
from fl_orchestrator.chain.types import (
    ClaimView,
    ModelView,
    Observation,
    Params,
    Phase,
    PrivateObservation,
    Role,
    RoundView,
    Signature,
    SignedCommit,
    Update,
    included_indices,
)
from fl_orchestrator.content.cid import Cid, CidError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.rules import RuleKind

ABI = load_artifact("Federation").abi
OUTPUTS = {item["name"]: item["outputs"] for item in ABI if item["type"] == "function"}
INPUTS = {item["name"]: item["inputs"] for item in ABI if item["type"] == "function"}

DIGEST = bytes(range(32))
ROUND = (
    *(3, 2, 10, 100, 200, 300, 4, 5, 0, 0, 5, 10**18, 2 * 10**18, 2, b"\1" * 32),
    *((DIGEST, 0x55), b"\2" * 32, b"\3" * 32),
)


def snake_case(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def struct_fields(parameter: dict[str, Any]) -> list[str]:
    return [snake_case(component["name"]) for component in parameter["components"]]


@pytest.mark.parametrize(
    ("cls", "parameter"),
    [
        (Params, OUTPUTS["params"][0]),
        (Observation, OUTPUTS["observe"][0]),
        (ModelView, OUTPUTS["head"][0]),
        (Result, INPUTS["attest"][0]),
        (Signature, INPUTS["attest"][1]),
        (SignedCommit, INPUTS["commitFor"][0]),
        (Update, INPUTS["reveal"][0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_dataclass_has_the_fields_of_its_struct(cls: type, parameter: dict[str, Any]) -> None:
    assert list(get_type_hints(cls)) == struct_fields(parameter)


def test_the_nested_structs_of_an_observation_match_too() -> None:
    hints = get_type_hints(Observation)
    nested = [c for c in OUTPUTS["observe"][0]["components"] if c["type"] == "tuple"]
    assert len(nested) == 5
    for component in nested:
        cls = hints[snake_case(component["name"])]
        assert list(get_type_hints(cls)) == struct_fields(component)


@pytest.mark.parametrize(
    ("enum", "solidity"), [(Phase, "Phase"), (Role, "Role"), (RuleKind, "Rule")]
)
def test_an_enum_is_declared_as_in_the_contract(
    enum: type[Any], solidity: str, checkout: Path
) -> None:
    source = (checkout / "contracts/interfaces/IFederation.sol").read_text()
    body = source.partition(f"enum {solidity} {{")[2].partition("}")[0]
    names = [snake_case(name.strip()).lstrip("_").upper() for name in body.split(",")]
    assert [member.name for member in enum] == names


def test_nested_tuples_become_nested_dataclasses() -> None:
    view = from_abi(RoundView, ROUND)
    assert view.phase is Phase.COMMIT
    assert view.base_cid == Cid(DIGEST, 0x55)
    assert view.base_model() == (Cid(DIGEST, 0x55), b"\1" * 32)
    assert view.updates_hash == b"\3" * 32


def test_a_round_that_is_not_open_has_no_base_model() -> None:
    values = list(ROUND)
    values[15] = (bytes(32), 0)
    view = from_abi(RoundView, values)
    assert view.base_cid is None
    with pytest.raises(ValueError, match="round 3 is not open yet"):
        view.base_model()


@pytest.mark.parametrize("values", [ROUND[:-1], (*ROUND, 1)])
def test_a_tuple_of_another_length_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="argument"):
        from_abi(RoundView, values)


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(ValueError, match="8 is not a valid Phase"):
        from_abi(RoundView, (3, 8, *ROUND[2:]))


def test_a_cid_that_the_protocol_does_not_know_is_refused() -> None:
    with pytest.raises(CidError, match="codec"):
        from_abi(ModelView, (1, 1, b"\1" * 32, (DIGEST, 0x71)))


def test_what_goes_to_the_chain_comes_back_equal() -> None:
    party = "0x" + "12" * 20
    update = Update(party, 7, b"\1" * 32, Cid(DIGEST, 0x70), b"\2" * 32)
    flat = to_abi([update])
    assert flat == [(party, 7, b"\1" * 32, (DIGEST, 0x70), b"\2" * 32)]
    assert from_abi(Update, flat[0]) == update


def test_an_address_gets_its_checksum() -> None:
    values = ("0x" + "ab" * 20, 7, b"\1" * 32, (DIGEST, 0x70), b"\2" * 32)
    assert from_abi(Update, values).party == "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


def test_the_abi_of_a_round_comes_back_equal() -> None:
    assert to_abi(from_abi(RoundView, ROUND)) == ROUND


@given(st.sets(st.integers(0, 127)))
def test_the_bits_of_a_bitmap_are_listed_lowest_first(bits: set[int]) -> None:
    assert included_indices(sum(1 << bit for bit in bits)) == sorted(bits)


def test_each_phase_with_a_deadline_has_its_own() -> None:
    plain = seen()
    ends = {p: dataclasses.replace(plain, current=at(plain, p)).phase_end for p in Phase}
    timed = {Phase.COMMIT: 1_000, Phase.REVEAL: 2_000, Phase.ATTEST: 3_000}
    assert ends == {phase: timed.get(phase) for phase in Phase}
    claims = ClaimView(bytes(32), 2_500, 0, 0, False, 0)
    fields = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    private = PrivateObservation(**fields, claims=claims)
    ends = {p: dataclasses.replace(private, current=at(private, p)).phase_end for p in Phase}
    assert ends == {phase: {**timed, Phase.CLAIM: 2_500}.get(phase) for phase in Phase}


def at(observed: Observation, phase: Phase) -> RoundView:
    return dataclasses.replace(observed.current, phase=phase)
