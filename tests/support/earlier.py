"""Federations of an earlier release, as the flo of that release deployed and ran them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eth_utils.address import to_canonical_address

from fl_orchestrator.artifacts import Hole, Release, Runtime, releases
from fl_orchestrator.chain.abi import snake_case, to_abi
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Params, PrivateParams
from support.federation import SmallFederation
from support.private_federation import SmallPrivateFederation

_CREATION: Final = Path(__file__).resolve().parents[1] / "vectors" / "releases"
_LIBRARIES: Final = {
    "Federation": ("DisputeLogic",),
    "PrivateFederation": ("DisputeLogic", "Claims", "MaskedDisputes"),
}


def last_release() -> Release:
    return releases()[-1]


def deploy_release(
    sender: Sender, release: Release, params: Params, private: PrivateParams | None = None
) -> Deployment:
    """Deploy a federation of a release with its libraries; what the release would record of it."""
    creation = json.loads((_CREATION / f"{release.version}.json").read_text())
    kind = "Federation" if private is None else "PrivateFederation"
    libraries: dict[str, bytes] = {}
    for name in _LIBRARIES[kind]:
        receipt = sender.send(Call(None, _linked(creation[name], libraries), 0, "deploy"))
        assert receipt.contract_address is not None
        libraries[name] = to_canonical_address(receipt.contract_address)
    runtime = release.contracts[kind]
    given = [_params_of(runtime, params)] + ([] if private is None else [to_abi(private)])
    bytecode = _linked(creation[kind], libraries)
    factory = sender.web3.eth.contract(abi=runtime.abi, bytecode=bytecode)
    data = bytes.fromhex(factory.constructor(*given).data_in_transaction[2:])
    receipt = sender.send(Call(None, data, 0, "deploy"))
    assert receipt.contract_address is not None
    migration = "0002_federation" if private is None else "0005_private_federation"
    return Deployment(migration, kind, receipt.contract_address, receipt.block_number, "0x")


def _params_of(runtime: Runtime, params: Params) -> tuple[Any, ...]:
    """The parameters, as the constructor of the release takes them."""
    (constructor,) = (entry for entry in runtime.abi if entry["type"] == "constructor")
    names = [field["name"] for field in constructor["inputs"][0]["components"]]
    return tuple(to_abi(getattr(params, snake_case(name))) for name in names)


def _linked(creation: Mapping[str, Any], libraries: Mapping[str, bytes]) -> bytes:
    code = bytearray.fromhex(creation["creationCode"][2:])
    for library, places in creation["links"].items():
        for hole in (Hole(*place) for place in places):
            code[hole.start : hole.start + hole.length] = libraries[library]
    return bytes(code)


def record_as_then(directory: Path, chain_id: int, deployment: Deployment) -> None:
    """Write a record without the version, as flo 0.1.0 did."""
    path = DeploymentRecord(directory, chain_id).path
    fields = ("migration", "contract", "address", "block", "code_hash")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{name: getattr(deployment, name) for name in fields}]))


class _OfTheRelease(SmallFederation):
    """Its roles run in this process, on contracts of the last release before this version."""

    def _deployed(self, record: DeploymentRecord) -> Deployment:
        private = self._private_params()
        done = deploy_release(self.sender(self.owner), last_release(), self.params, private)
        record_as_then(record.path.parent, self.chain.web3.eth.chain_id, done)
        return done

    def _opened(self) -> Federation:
        return self.CONTRACT(self.chain.web3, self.deployment.address, last_release())


class EarlierFederation(_OfTheRelease):
    """A plain federation."""


class EarlierPrivateFederation(_OfTheRelease, SmallPrivateFederation):
    """A private federation."""
