"""Mirrors of a federation: opening and comparing them, carrying rounds to them, guarding them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.mirror.types import MirrorParams, Seat, ordered
from fl_orchestrator.chain.nodes.connect import reach
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Role
from fl_orchestrator.errors import InputError, VerificationError
from fl_orchestrator.members.base import Member
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.mirror.carrier import Carrier as Worker
from fl_orchestrator.roles.watcher.mirrored import MirrorWatcher
from fl_orchestrator.service.process import Process

#: What a mirror has of its own in the place of the federation's parameters.
_OWN: Final = ("challenge_period", "answer_period", "demand_bond")


class NoRecordedMirror(InputError):
    """No address was given for a mirror, and none is recorded for its chain."""


class OtherMirror(VerificationError):
    """A mirror is of another federation, or its rules are not the federation's."""


class PrivateMirror(InputError):
    """A private federation cannot be mirrored."""


@dataclass(frozen=True, slots=True)
class OpenMirror:
    """A mirror, and the block from which on its events are searched."""

    contract: ModelMirror
    from_block: int

    @property
    def name(self) -> str:
        """For directories and reports: the chain and the address."""
        return f"{self.contract.chain_id}-{self.contract.address.lower()}"


def open_mirror(place: str, deployments: Path, federation: Federation) -> OpenMirror:
    """The mirror at ``RPC-URL`` (the recorded one) or ``RPC-URL#ADDRESS``.

    Raises NoRecordedMirror, NoMirror, and what `require_mirror_of` raises.
    """
    url, _, address = place.partition("#")
    node = reach([url])
    recorded = [
        deployment
        for deployment in DeploymentRecord(deployments, node.chain_id).load().values()
        if deployment.contract == ModelMirror.ARTIFACT
    ]
    if not address and not recorded:
        raise NoRecordedMirror(
            f"No mirror is recorded for chain {node.chain_id}.",
            "Name it as URL#ADDRESS, or create one with `flo mirror create`.",
        )
    address = address or recorded[-1].address
    mirror = ModelMirror(node, address)
    require_mirror_of(mirror, federation)
    blocks = [d.block for d in recorded if d.address.lower() == mirror.address.lower()]
    return OpenMirror(mirror, blocks[0] if blocks else 0)


def require_plain(federation: Federation) -> None:
    """Raise PrivateMirror for a private federation."""
    if isinstance(federation, PrivateFederation):
        raise PrivateMirror(
            "A private federation cannot be mirrored: the proofs against its models need the "
            "commits of the parties, which only its own contract has.",
            "Mirror a plain federation.",
        )


def require_mirror_of(mirror: ModelMirror, federation: Federation) -> None:
    """Raise OtherMirror unless the mirror is of this federation, and judges by its rules."""
    require_plain(federation)
    own, wanted = mirror.mirror_params(), (federation.chain_id, federation.address)
    if (own.home_chain_id, own.home) != wanted:
        raise OtherMirror(
            f"The mirror {mirror.address} is of the federation {own.home} on chain "
            f"{own.home_chain_id}, not of {federation.address} on chain {federation.chain_id}.",
            "Check the address of the mirror.",
        )
    changes = {name: getattr(own, name) for name in _OWN}
    if mirror.params() != dataclasses.replace(federation.params(), **changes):
        raise OtherMirror(
            f"The mirror {mirror.address} judges results by other parameters than the federation "
            "has: it could refuse right models, or take wrong ones.",
            "Do not use it.",
        )


def mirror_terms(
    federation: Federation, challenge_period: int, answer_period: int, bond: int, *, now: bool
) -> MirrorParams:
    """What to deploy a mirror with; it starts from genesis, or ``now`` from the last final model.

    Raises PrivateMirror.
    """
    require_plain(federation)
    height = federation.observe(federation.address).final_height if now else 0
    start = federation.model(height)
    home = (federation.chain_id, federation.address)
    periods = (challenge_period, answer_period, bond)
    return MirrorParams(*home, *periods, start.round, start.root, start.cid)


def seats_of(federation: Federation, from_block: int) -> list[Seat]:
    """The federation's aggregators and their present stakes, as seats of a mirror.

    Raises WrongSeats if there are none.
    """
    minimum = federation.params().min_aggregator_stake
    found = {}
    for account in federation.registered(Role.AGGREGATOR, from_block):
        view = federation.observe(account).aggregator
        if view.stake >= minimum and not view.unbond_at:
            found[account] = Seat(account, view.stake)
    return ordered(list(found.values()))


class OtherModels(VerificationError):
    """A mirror has a model that the federation does not have."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A mirror whose models are all the federation's.

    ``equal`` is their number without the one that it started from, ``round`` that of the last one,
    ``behind`` the number of the federation's models that it does not have yet.
    """

    address: str
    chain_id: int
    equal: int
    round: int
    behind: int


def compare(mirror: ModelMirror, federation: Federation) -> Comparison:
    """Compare every model of a mirror with the federation's of that round. Raises OtherModels."""
    seen = federation.observe(federation.address)
    models = [federation.model(height) for height in range(seen.head.height + 1)]
    at_home = {model.round: model for model in models}
    last = mirror.head()
    for height in range(last.height + 1):
        model = mirror.model(height)
        own = at_home.get(model.round)
        if own is None or (own.root, own.cid) != (model.root, model.cid):
            state = "final" if model.is_final else "not final yet"
            held = "none" if own is None else "0x" + own.root.hex()
            raise OtherModels(
                f"The mirror's model of round {model.round}, {state}, is 0x{model.root.hex()}; "
                f"the federation's is {held}.",
                "One of the two chains was rewritten, or a quorum has signed two results: compare "
                "the events of both.",
            )
    later = sum(model.round > last.round for model in models)
    return Comparison(mirror.address, mirror.chain_id, last.height, last.round, later)


class Carrier(Member):
    """Carries the final rounds of a federation to its mirrors, as `flo mirror run` does.

    Anyone can. The account needs coin on the chains of the mirrors only.

    Args:
        site: Where the federation, key and files are. It needs a store, to answer demands.
        mirrors: What `open_mirror` returns.
    """

    role: ClassVar[str] = "mirror"

    def __init__(self, site: Connection | Process, mirrors: Sequence[OpenMirror]) -> None:
        super().__init__(site)
        with self._closing_on_error():
            process = self.process
            context = process.context(process.manifest())
            self._workers = [
                Worker(
                    _beside(context, "mirror", mirror),
                    mirror.contract,
                    _sender(process, mirror.contract),
                    mirror.from_block,
                )
                for mirror in mirrors
            ]

    def run(self, *, once: bool = False, timeout: float | None = None) -> Counter[str]:
        """Carry rounds until `stop`; with ``once`` those that are final now.

        Returns how often each action was done. With ``once``, an outage ends it with an error.
        """
        return self.process.serve(
            *self._workers,
            finished=lambda: once and all(worker.idle for worker in self._workers),
            once=once,
            timeout=timeout,
        )


def guards(
    process: Process, mirrors: Sequence[OpenMirror], max_bond: int | None
) -> list[MirrorWatcher]:
    """Watchers of these mirrors, for a watcher's process."""
    if not mirrors:
        return []
    context = process.context(process.manifest())
    return [
        MirrorWatcher(
            _beside(context, "watcher", mirror),
            mirror.contract,
            _sender(process, mirror.contract),
            mirror.from_block,
            max_bond,
        )
        for mirror in mirrors
    ]


def _beside(context: Context, role: str, mirror: OpenMirror) -> Context:
    """The context, with a directory of its own for this mirror."""
    return dataclasses.replace(context, home=context.home / f"{role}-{mirror.name}")


def _sender(process: Process, mirror: ModelMirror) -> Sender:
    """Sends with the process's key and limits to a mirror's chain."""
    sender = process.sender
    return Sender(mirror.web3, sender.signer, mirror.reverts, sender.policy, process.metrics.sent)
