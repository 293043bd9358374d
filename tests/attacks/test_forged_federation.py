"""Somebody asks others to join a contract with a federation's code that began in another way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth.vm.state import BaseState
from support.federation import SmallFederation

from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.deployment import migrate
from fl_orchestrator.chain.deployment.creation import NoOldState
from fl_orchestrator.chain.deployment.migrate import ForgedFederation, require_deployed
from fl_orchestrator.chain.types import Role
from fl_orchestrator.cli.consortium.federation import fund
from fl_orchestrator.cli.roles.stake import add_stake
from fl_orchestrator.members.base import registration
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.units import ETHER

# More than the contract has slots in front of its mappings.
SLOTS = 40


def storing(slot: int, value: int) -> bytes:
    return b"\x7f" + value.to_bytes(32, "big") + b"\x7f" + slot.to_bytes(32, "big") + b"\x55"


def leaving(code: bytes, before: bytes) -> bytes:
    """Creation code that does something and leaves ``code`` behind."""
    at = len(before) + 15
    return before + bytes.fromhex(f"63{len(code):08x}8061{at:04x}6000396000f3") + code


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SmallFederation, Federation]:
    """A federation, and a copy of its code and storage with a credit of a thief."""
    stored: dict[tuple[bytes, int], int] = {}
    store = BaseState.set_storage

    def seen(self: BaseState, address: Any, slot: int, value: int) -> None:
        stored[(bytes(address), slot)] = value
        store(self, address, slot, value)

    with monkeypatch.context() as patch:
        patch.setattr(BaseState, "set_storage", seen)
        made = SmallFederation(tmp_path, register=False)
    address, thief = made.federation.address, made.outsider
    place, account = bytes.fromhex(address[2:]), bytes.fromhex(thief.address[2:])
    before = b"".join(
        storing(slot, value) for (who, slot), value in stored.items() if who == place and value
    )
    # Wherever the mapping is: a beneficiary, and what it may withdraw.
    credit = 5 * ETHER << 160 | int.from_bytes(account, "big")
    for slot in range(SLOTS):
        key = keccak256(account.rjust(32, b"\0") + slot.to_bytes(32, "big"))
        before += storing(int.from_bytes(key, "big"), credit)
    web3 = made.chain.web3
    code = bytes(web3.eth.get_code(web3.to_checksum_address(address)))
    forged = made.send(thief, Call(None, leaving(code, before), 0, "deploy")).contract_address
    assert forged is not None
    return made, Federation(web3, forged)


def test_nobody_registers_where_the_author_has_a_credit(
    small: tuple[SmallFederation, Federation],
) -> None:
    made, forged = small
    # It is a federation in all that it shows, and would pay the thief from the stakes.
    assert forged.params() == made.federation.params()
    assert forged.observe(made.outsider.address).credit == 5 * ETHER
    party = made.parties[0].address
    with pytest.raises(ForgedFederation, match="no transaction that deploys one"):
        registration(forged, Role.PARTY, party, "", "", None)
    assert registration(made.federation, Role.PARTY, party, "", "", None).beneficiary == party


def test_nobody_adds_to_a_stake_or_a_pot_where_the_author_has_a_credit(
    small: tuple[SmallFederation, Federation],
) -> None:
    site: Any = SimpleNamespace(open_federation=lambda: small[1])
    with pytest.raises(ForgedFederation, match="no transaction that deploys one"):
        add_stake(site, "0.1", dry_run=True, json_output=False)
    command: Any = fund
    with pytest.raises(ForgedFederation, match="no transaction that deploys one"):
        command.__wrapped__("1", site, dry_run=True, json_output=False)


def test_a_node_without_old_states_is_no_reason_to_stay_away(
    small: tuple[SmallFederation, Federation],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pruned(*_: Any) -> bool:
        raise NoOldState("missing trie node", "")

    monkeypatch.setattr(migrate, "creates", pruned)
    require_deployed(small[0].federation)
    assert "deployment not checked" in capsys.readouterr().out
