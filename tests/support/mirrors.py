"""A mirror of a small consortium on another chain, and who works with it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from web3 import Web3

from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import deploy
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.members.mirrors import mirror_terms, seats_of
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.mirror.carrier import Carrier
from fl_orchestrator.roles.mirror.evidence import SignedResult, SignedResults
from fl_orchestrator.roles.watcher.mirrored import MirrorWatcher
from support.federation import SmallFederation
from support.validators import Consortium

WINDOW_SECONDS = 600
ANSWER_SECONDS = 60
BOND = 10**15
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class AtHome:
    """A federation with what works for its mirrors: ``key`` pays on both chains."""

    federation: Federation
    key: LocalSigner
    aggregators: Sequence[LocalSigner]
    store: ContentStore
    manifest: Manifest
    deployed_at: int

    @classmethod
    def of(cls, one: Consortium) -> AtHome:
        return cls(
            one.federation(),
            one.owner,
            one.aggregators,
            one.store,
            one.manifest,
            one.deployment.block,
        )

    @classmethod
    def of_small(cls, one: SmallFederation) -> AtHome:
        """With the account of an outsider."""
        return cls(
            one.federation,
            one.outsider,
            one.aggregators,
            one.store,
            one.manifest,
            one.deployment.block,
        )


class MirrorSite:
    """A mirror that is deployed on another chain, with files of its own."""

    def __init__(
        self, at_home: AtHome, web3: Web3, directory: Path, window: int = WINDOW_SECONDS
    ) -> None:
        self.at_home = at_home
        self.directory = directory
        self.home: Federation = at_home.federation
        record = DeploymentRecord(directory / "deployments", web3.eth.chain_id)
        sender = Sender(web3, at_home.key, RevertDecoder.of_artifact("ModelMirror"))
        answer = min(ANSWER_SECONDS, window // 2)
        own = mirror_terms(self.home, window, answer, BOND, now=False)
        seats = seats_of(self.home, at_home.deployed_at)
        terms = (to_abi(own), to_abi(self.home.params()), [seat.word for seat in seats])
        self.deployment: Deployment = deploy(sender, "ModelMirror", terms, record)[-1]
        self.mirror = ModelMirror(web3, self.deployment.address)
        self.seats = seats

    def sender(self, key: LocalSigner | None = None) -> Sender:
        return Sender(self.mirror.web3, key or self.at_home.key, self.mirror.reverts)

    def context(self, name: str, key: LocalSigner | None = None) -> Context:
        return Context(
            federation=self.home,
            sender=Sender(self.home.web3, key or self.at_home.key, self.home.reverts),
            store=self.at_home.store,
            manifest=self.at_home.manifest,
            home=self.directory / name,
            deployed_at=self.at_home.deployed_at,
        )

    def carrier(self, key: LocalSigner | None = None, name: str = "carrier") -> Carrier:
        """A new process, with the files that an earlier one of this name has left."""
        return Carrier(self.context(name), self.mirror, self.sender(key), self.deployment.block)

    def watcher(self, name: str = "guard", key: LocalSigner | None = None) -> MirrorWatcher:
        """A new process, with the files that an earlier one of this name has left."""
        context = self.context(name, key)
        return MirrorWatcher(context, self.mirror, self.sender(key), self.deployment.block)

    # ------------------------------------------------------------------ results

    def signed(self, round_number: int) -> SignedResult:
        """An accepted result of the federation."""
        context = self.context("signed")
        results = SignedResults(self.home, context.round_index(), context.deployed_at)
        return results.of_round(round_number, self.home.web3.eth.block_number)

    def wrong(self, round_number: int, place: int, *, publish: bool) -> SignedResult:
        """A result whose model is wrong by one unit at one place, signed by all aggregators."""
        right = self.signed(round_number)
        context = self.context("wrong")
        vectors, meta = context.vectors(), context.origin.state(round_number)
        found = vectors.fetch(
            context.store, right.result.global_cid, right.result.global_root, meta
        )
        vector = vectors.load(found)
        vector[place] += 1
        file = vectors.write(meta, in_blocks(vector))
        if publish:
            context.store.put_file(file.path)
        with file.path.open("rb") as stream:
            cid = cid_of(stream)
        return self.signed_by_all(
            right, dataclasses.replace(right.result, global_root=file.root, global_cid=cid)
        )

    def signed_by_all(self, like: SignedResult, result: Result) -> SignedResult:
        keys = self.at_home.aggregators
        signatures = {key.address: self.home.sign_result(key, result) for key in keys}
        return SignedResult(self.mirror.digest_of(result), result, like.updates, signatures)

    def submit(self, signed: SignedResult) -> None:
        self.sender().send(signed.submission(self.mirror, self.seats))


def mirror_of(
    consortium: Consortium, url: str, directory: Path, window: int = WINDOW_SECONDS
) -> MirrorSite:
    """A mirror of a federation on a real chain, on the chain at ``url``."""
    return MirrorSite(AtHome.of(consortium), connect([url]), directory, window)


def carry(carrier: Carrier) -> list[str]:
    """Give a carrier steps until it has nothing to do; what it did."""
    done = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (action := carrier.step().action) is not None:
        assert time.monotonic() < deadline
        done.append(action)
    return done


def guard_until(watcher: MirrorWatcher, reached: Callable[[], bool]) -> list[str]:
    """Give a watcher steps until a condition holds; what it did."""
    done: list[str] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, done
        action = watcher.step().action
        if action is None:
            time.sleep(0.2)
        else:
            done.append(action)
    return done


def make_final(consortium: Consortium) -> int:
    """Make every accepted round of the federation final whose window is over; the final height."""
    chain = consortium.federation()
    sender = Sender(chain.web3, consortium.owner, chain.reverts)
    while (seen := chain.observe(consortium.owner.address)).final_height < seen.head.height:
        if seen.finalizable_at > seen.timestamp:
            break
        sender.send(chain.finalize())
    return seen.final_height
