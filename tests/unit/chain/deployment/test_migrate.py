"""Migrations: nothing is deployed twice, whatever happens in between, and nothing is overlooked."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from support.federation import consortium, signer, small_manifest

from fl_orchestrator.artifacts import CONTRACTS_VERSION, load_artifact
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import ContractReverted, RevertDecoder
from fl_orchestrator.chain.deployment import migrate as module
from fl_orchestrator.chain.deployment.migrate import (
    DeploymentMismatch,
    DeploymentPending,
    gas_to_migrate,
    is_deployed_here,
    migrate,
    migration_files,
)
from fl_orchestrator.chain.deployment.record import (
    DamagedRecord,
    Deployment,
    DeploymentRecord,
    UnwritableRecord,
)
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Receipt, Sender, SendPolicy, TransactionFailed
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Params
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.roles.setup import Genesis, federation_params
from fl_orchestrator.units import ETHER

OWNER = signer("owner")
LIBRARY, FEDERATION = (path.stem for path in migration_files()[:2])
REVERTS = RevertDecoder.of_artifact("Federation")
PARAMS: Params = federation_params(
    small_manifest(), Genesis(b"\1" * 32, Cid(b"\2" * 32, 0x55)), consortium(3)
)


@pytest.fixture
def chain() -> DevelopmentChain:
    return DevelopmentChain({OWNER.address: 100 * ETHER})


@pytest.fixture
def record(tmp_path: Path, chain: DevelopmentChain) -> DeploymentRecord:
    return DeploymentRecord(tmp_path / "deployments", chain.web3.eth.chain_id)


def sender(chain: DevelopmentChain, key: LocalSigner = OWNER, timeout: float = 120) -> Sender:
    return Sender(chain.web3, key, REVERTS, SendPolicy(timeout=timeout))


def nonce(chain: DevelopmentChain) -> int:
    return int(chain.web3.eth.get_transaction_count(OWNER.address))  # type: ignore[arg-type]


def save(record: DeploymentRecord, migration: str, **changes: Any) -> None:
    record.save(dataclasses.replace(record.load()[migration], **changes))


def test_the_migrations_deploy_and_record_what_they_deployed(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    deployments = migrate(sender(chain), PARAMS, record)
    named = ((LIBRARY, "DisputeLogic"), (FEDERATION, "Federation"))
    for block, (deployment, (migration, contract)) in enumerate(
        zip(deployments, named, strict=True), start=1
    ):
        code = bytes(chain.web3.eth.get_code(deployment.address))  # type: ignore[arg-type]
        code_hash = "0x" + keccak(code).hex()
        expected = (migration, contract, deployment.address, block, code_hash, CONTRACTS_VERSION)
        assert deployment == Deployment(*expected)
    assert record.load() == {deployment.migration: deployment for deployment in deployments}
    assert record.path.name == f"{chain.web3.eth.chain_id}.json"
    federation = Federation(chain.web3, deployments[-1].address)
    assert federation.params() == PARAMS
    assert federation.libraries == {"DisputeLogic": to_canonical_address(deployments[0].address)}


def test_running_the_migrations_again_changes_nothing(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    first = migrate(sender(chain), PARAMS, record)
    text = record.path.read_text()
    assert migrate(sender(chain), PARAMS, record) == first
    assert record.path.read_text() == text
    assert nonce(chain) == 2


def test_the_gas_of_the_migrations_is_told_before_anything_is_sent(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    receipts: list[Receipt] = []
    told = gas_to_migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 0
    assert not record.path.exists()
    migrate(Sender(chain.web3, OWNER, REVERTS, on_receipt=receipts.append), PARAMS, record)
    assert told == sum(receipt.gas_used for receipt in receipts)
    assert gas_to_migrate(sender(chain), PARAMS, record) == 0


def test_chains_are_recorded_apart(tmp_path: Path) -> None:
    deployment = Deployment(FEDERATION, "Federation", "0x" + "ab" * 20, 7, "0x00")
    DeploymentRecord(tmp_path, 1).save(deployment)
    assert DeploymentRecord(tmp_path, 1).load() == {FEDERATION: deployment}
    assert DeploymentRecord(tmp_path, 2).load() == {}


def test_another_chain_with_the_same_id_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    migrate(sender(chain), PARAMS, record)
    other = DevelopmentChain({OWNER.address: 100 * ETHER})
    with pytest.raises(DeploymentMismatch, match="does not have the recorded code"):
        migrate(sender(other), PARAMS, record)
    assert nonce(other) == 0


@pytest.mark.parametrize("migration", [LIBRARY, FEDERATION])
def test_a_recorded_contract_whose_code_differs_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord, migration: str
) -> None:
    migrate(sender(chain), PARAMS, record)
    save(record, migration, code_hash="0x" + "00" * 32)
    with pytest.raises(DeploymentMismatch, match="does not have the recorded code"):
        migrate(sender(chain), PARAMS, record)


@pytest.mark.parametrize("migration", [LIBRARY, FEDERATION])
def test_another_contract_at_the_recorded_address_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord, migration: str
) -> None:
    migrate(sender(chain), PARAMS, record)
    other = sender(chain).send(Call(None, bytes.fromhex("6001600c60003960016000f300"), 0, "other"))
    code_hash = "0x" + keccak(b"\0").hex()
    for block in (0, other.block_number):
        save(record, migration, address=other.contract_address, code_hash=code_hash, block=block)
        with pytest.raises(DeploymentMismatch):
            migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 3


def test_a_recorded_federation_that_links_another_library_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord, tmp_path: Path
) -> None:
    migrate(sender(chain), PARAMS, record)
    elsewhere = DeploymentRecord(tmp_path / "elsewhere", chain.web3.eth.chain_id)
    other = migrate(sender(chain), PARAMS, elsewhere)[-1]
    for block in (0, other.block):
        record.save(dataclasses.replace(other, block=block))
        with pytest.raises(DeploymentMismatch, match="does not have the recorded code"):
            migrate(sender(chain), PARAMS, record)


def test_a_record_of_another_versions_migrations_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    record.save(Deployment("0001_federation", "Federation", "0x" + "ab" * 20, 7, "0x00"))
    for run in (migrate, gas_to_migrate):
        with pytest.raises(DeploymentMismatch, match=r"does not have: 0001_federation\."):
            run(sender(chain), PARAMS, record)
    assert nonce(chain) == 0


def test_a_federation_of_another_version_is_refused(
    chain: DevelopmentChain, record: DeploymentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(sender(chain), PARAMS, record)
    artifact = load_artifact("Federation")
    changed = dataclasses.replace(artifact, runtime_code_hash=bytes(32))
    other = {"Federation": changed, "DisputeLogic": load_artifact("DisputeLogic")}
    monkeypatch.setattr(module, "load_artifact", other.__getitem__)
    with pytest.raises(DeploymentMismatch, match="another version of the package"):
        migrate(sender(chain), PARAMS, record)


class Interrupting(Sender):
    """A sender whose process dies before, or right after, its last deployment is sent."""

    def __init__(self, inner: Sender, deployments: int, after: bool) -> None:
        super().__init__(inner.web3, inner.signer, REVERTS)
        self._left = deployments
        self._after = after

    def send(self, call: Call) -> Any:
        self._left -= 1
        if self._left or self._after:
            receipt = super().send(call)
        if self._left:
            return receipt
        raise KeyboardInterrupt


@pytest.mark.parametrize(("deployments", "migration"), [(1, LIBRARY), (2, FEDERATION)])
def test_an_interruption_after_sending_deploys_nothing_twice(
    chain: DevelopmentChain, record: DeploymentRecord, deployments: int, migration: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        migrate(Interrupting(sender(chain), deployments, after=True), PARAMS, record)
    assert len(record.load()) == deployments
    assert record.load()[migration].block == 0
    done = migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 2
    assert [deployment.block for deployment in done] == [1, 2]
    assert migrate(sender(chain), PARAMS, record) == done
    assert Federation(chain.web3, done[-1].address).params() == PARAMS


@pytest.mark.parametrize("deployments", [1, 2])
def test_an_interruption_before_sending_is_repeated(
    chain: DevelopmentChain, record: DeploymentRecord, deployments: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        migrate(Interrupting(sender(chain), deployments, after=False), PARAMS, record)
    assert nonce(chain) == deployments - 1
    done = migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 2
    assert [deployment.block for deployment in done] == [1, 2]


def test_a_deployment_that_waits_for_its_block_is_not_sent_again(
    chain: DevelopmentChain, record: DeploymentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[bytes] = []
    eth = chain.web3.eth
    send, count = eth.send_raw_transaction, eth.get_transaction_count

    def hold(raw: bytes) -> bytes:
        waiting.append(raw)
        return keccak(raw)

    def count_waiting(account: Any, block: str = "latest") -> int:
        return int(count(account)) + (len(waiting) if block == "pending" else 0)

    monkeypatch.setattr(eth, "send_raw_transaction", hold)
    monkeypatch.setattr(eth, "get_transaction_count", count_waiting)
    with pytest.raises(TransactionFailed, match=r"was not mined within"):
        migrate(sender(chain, timeout=0.1), PARAMS, record)
    with pytest.raises(DeploymentPending, match="not mined yet"):
        migrate(sender(chain), PARAMS, record)
    assert len(waiting) == 1

    send(waiting.pop())
    monkeypatch.setattr(eth, "send_raw_transaction", send)
    done = migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 2
    assert waiting == []
    assert [deployment.block for deployment in done] == [1, 2]


class Racing:
    """A signer whose account is used by another process at the same moment."""

    def __init__(self, race: Callable[[], Any]) -> None:
        self._race = race

    address = OWNER.address
    sign_typed_data = OWNER.sign_typed_data

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        self._race()
        return OWNER.sign_transaction({**transaction, "nonce": transaction["nonce"] + 1})


def test_a_key_that_is_used_by_another_process_is_noticed(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    transfer = Call(signer("a").address, b"", 1, "transfer")  # type: ignore[arg-type]
    racing = Racing(lambda: sender(chain).send(transfer))
    with pytest.raises(DeploymentMismatch, match="Another process uses the same key"):
        migrate(sender(chain, racing), PARAMS, record)  # type: ignore[arg-type]


def test_parameters_that_the_contract_refuses_leave_no_record(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    refused = dataclasses.replace(PARAMS, min_updates=0)
    with pytest.raises(ContractReverted, match=r"InvalidParams\(minUpdates\)"):
        migrate(sender(chain), refused, record)
    assert not record.path.exists()
    assert nonce(chain) == 0


GOOD = {
    "migration": FEDERATION,
    "contract": "Federation",
    "address": "0x" + "ab" * 20,
    "block": 1,
    "code_hash": "0x00",
}


DAMAGES: tuple[dict[str, Any], ...] = (
    {"address": "0x12"},
    {"address": "../../etc/passwd"},
    {"address": 5},
    {"block": "1"},
    {"block": -1},
    {"migration": None},
    {"migration": []},
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b"null",
        b"[1]",
        b"[{}]",
        json.dumps(GOOD).encode(),
        *(json.dumps([{**GOOD, **change}]).encode() for change in DAMAGES),
        json.dumps([{k: v for k, v in GOOD.items() if k != "block"}]).encode(),
    ],
    ids=lambda content: str(content[:40]),
)
def test_a_damaged_record_is_refused_and_nothing_is_deployed(
    chain: DevelopmentChain, record: DeploymentRecord, content: bytes
) -> None:
    record.path.parent.mkdir()
    record.path.write_bytes(content)
    with pytest.raises(DamagedRecord, match="is not a deployment record"):
        migrate(sender(chain), PARAMS, record)
    assert nonce(chain) == 0
    assert record.path.read_bytes() == content


def test_a_record_that_cannot_be_written_stops_before_anything_is_sent(
    tmp_path: Path, chain: DevelopmentChain
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DamagedRecord):
        migrate(sender(chain), PARAMS, DeploymentRecord(tmp_path / "file", 1))
    (tmp_path / "directory").mkdir(mode=0o500)
    (tmp_path / "directory" / ".1.json.new").mkdir()
    with pytest.raises(UnwritableRecord, match="cannot be written"):
        migrate(sender(chain), PARAMS, DeploymentRecord(tmp_path / "directory", 1))
    assert nonce(chain) == 0


def counterfeit(code: bytes, slot: int, value: int) -> bytes:
    """Creation code that leaves ``code`` behind, with a value in the storage."""
    store = bytes.fromhex(f"7f{value:064x}60{slot:02x}55")
    # Copies what follows these fifteen bytes into memory, and returns it.
    start = len(store) + 15
    return store + bytes.fromhex(f"63{len(code):08x}8061{start:04x}6000396000f3") + code


def test_code_that_another_constructor_left_is_not_a_deployment(
    chain: DevelopmentChain, record: DeploymentRecord
) -> None:
    genuine = migrate(sender(chain), PARAMS, record)[-1]
    federation = Federation(chain.web3, genuine.address)
    assert is_deployed_here(federation)

    code = bytes(chain.web3.eth.get_code(federation.address))
    forged = sender(chain).send(Call(None, counterfeit(code, 0, 7), 0, "forge"))
    assert forged.contract_address is not None
    address = chain.web3.to_checksum_address(forged.contract_address)
    assert bytes(chain.web3.eth.get_code(address)) == code
    # Its code is right, so it is taken for a federation; what it starts from is not.
    assert not is_deployed_here(Federation(chain.web3, address))
