"""All aggregators sign the same wrong model, and one watcher has it revoked."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fl_orchestrator.attacks.base import HEADING, OWNER, PROTOCOL, WATCHER, Fact, Tell
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.protocol import BPS
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.simulation.driver import StuckFederation
from fl_orchestrator.units import ether


class Colluder(Aggregator):
    """Signs the correct model plus one unit, which it adds at a position of the flat vector."""

    position: int = 0

    def _compute(self, seen: Observation, work: Any, included: int) -> Result:
        right = super()._compute(seen, work, included)
        meta = self._origin.state(right.round)
        file = self._vectors.fetch(self._store, right.global_cid, right.global_root, meta)
        vector = self._vectors.load(file)
        vector[self.position] += 1
        wrong = self._vectors.write(meta, in_blocks(vector))
        with wrong.path.open("rb") as stream:
            return dataclasses.replace(right, global_root=wrong.root, global_cid=cid_of(stream))


class SecretStore(LocalStore):
    """The shared store for a member that reads from it but writes nothing to it."""

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:  # noqa: ARG002
        return cid_of(stream)

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        with path.open("rb") as stream:
            return self.put(stream, pin=pin)


@dataclass(frozen=True, slots=True)
class AcceptedFraud:
    """A wrong model that was accepted, and the chain's state at that time.

    ``coordinate`` is the wrong one. ``stakes`` has the stakes of its signers, in wei, by address;
    ``all_stakes`` those of all aggregators that counted.
    """

    round: int
    digest: bytes
    coordinate: int
    base: ModelView
    wrong: ModelView
    stakes: Mapping[str, int]
    all_stakes: int

    @property
    def is_head(self) -> bool:
        """Whether it became the next model after its base."""
        return (self.wrong.round, self.wrong.height) == (self.round, self.base.height + 1)


# ---------------------------------------------------------------------- the actions


def run_honest_round(scene: Scene, tell: Tell) -> None:
    """The first round, in which everybody is honest."""
    tell(HEADING, "Round 1")
    scene.simulation.run_round()
    signed, seats = len(scene.signers(1)), len(scene.aggregators)
    tell(PROTOCOL, f"Accepts the model, signed by {signed} of {seats} aggregators.")


def corrupt(scene: Scene, number: int, *, hide: bool = False, answer: bool = False) -> None:
    """Let an aggregator collude: sign the wrong model, ``hide`` it, ``answer`` demands for it."""
    simulation = scene.simulation
    signer = simulation.accounts.aggregators[number]
    store = SecretStore(scene.directory / "store") if hide else simulation.store
    context = dataclasses.replace(
        simulation.context(signer, f"aggregators/{number}"), store=store, relay=None
    )
    colluder = Colluder(context, Responder(context, simulation.rounds) if answer else None)
    colluder.position = _position(scene)
    simulation.replace(signer.address, colluder)


def _position(scene: Scene) -> int:
    """The position of the wrong value: random, but the same for one seed."""
    generator = np.random.Generator(np.random.PCG64(scene.simulation.shape.seed))
    return int(generator.integers(scene.simulation.manifest.layout.parameters))


def run_fraudulent_round(scene: Scene) -> AcceptedFraud:
    """Run a round, in which all aggregators collude, to its end."""
    simulation = scene.simulation
    base = scene.federation.head()
    number = simulation.run_round().round
    seen = simulation.observe()
    return AcceptedFraud(
        number,
        scene.accepted_digest(number),
        simulation.manifest.layout.coordinate(_position(scene)),
        base,
        seen.head,
        {address: scene.frozen_stake([address]) for address in scene.signers(number)},
        seen.current.aggregator_stake,
    )


def await_judgement(scene: Scene, fraud: AcceptedFraud, tell: Tell) -> bool:
    """Run until the wrong model is revoked and its signers slashed, or final; whether revoked."""
    watcher = scene.watchers[0]

    def is_over(seen: Observation) -> bool:
        if seen.head.height >= fraud.wrong.height:
            return seen.final_height >= fraud.wrong.height
        slashed = scene.federation.fraud(fraud.digest).slashed
        paid, returned = scene.bonds(watcher)
        return (
            slashed == scene.federation.attestation(fraud.digest).signers
            and paid == returned
            and simulation.observe(watcher).credit == 0
        )

    simulation = scene.simulation
    # If nobody does what is still due, the facts show what is missing.
    with contextlib.suppress(StuckFederation):
        simulation.run_until(is_over)
    undone = simulation.observe().head.height < fraud.wrong.height
    if undone:
        tell(WATCHER, "Computes the round again from its updates: the model has another root.")
    else:
        tell(PROTOCOL, "Makes it final: the challenge period is over without a challenge.")
    return undone


def go_on(scene: Scene, tell: Tell) -> str:
    """Run the next round with a new, honest aggregator, and make it final; its address."""
    for address in scene.aggregators:
        scene.simulation.replace(address, None)
    stake = ether(scene.terms.min_aggregator_stake)
    newcomer = scene.admit_aggregator()
    tell(OWNER, f"Admits another aggregator, an honest one, which registers with {stake}.")
    report = scene.simulation.run_round()
    scene.simulation.settle()
    if not report.accepted:
        tell(PROTOCOL, "Has no quorum for its model: the round is void.")
        return newcomer
    base = scene.base_round(report.round)
    tell(PROTOCOL, f"Accepts its model, made from that of round {base}, and makes it final.")
    if is_right(scene, report.round):
        tell(WATCHER, "Computes this model again too: it is correct.")
    return newcomer


def is_right(scene: Scene, round_number: int) -> bool:
    """Whether an accepted model is the rule's result, computed again from the chain and store."""
    accepted = scene.accepted(round_number)
    if accepted is None:
        return False
    simulation = scene.simulation
    context = ReadContext(
        federation=scene.federation,
        store=simulation.store,
        manifest=simulation.manifest,
        home=scene.directory / "judge",
    )
    recomputation = Recomputation(context, simulation.rounds)
    return recomputation.compute(accepted.result).root == accepted.result.global_root


# ---------------------------------------------------------------------- the story


def _tell_proof(scene: Scene, log: Any, tell: Tell) -> None:
    proven, proofs = log["args"], scene.calldata(log)["proofs"]
    place = scene.simulation.manifest.layout.locate(proven["coordinate"])
    where = "the padding" if place is None else f"{place[0]}[{','.join(map(str, place[1]))}]"
    tell(
        WATCHER,
        f"The first wrong value is coordinate {proven['coordinate']}, {where}. Registers a "
        "challenge, and one block later proves it with one chunk of each update and of both "
        f"models, {len(proofs):,} bytes with their Merkle paths.",
    )
    receipt = scene.federation.web3.eth.get_transaction_receipt(log["transactionHash"])
    tell(
        PROTOCOL,
        f"Applies the rule to this one coordinate, for {receipt['gasUsed']:,} gas: the result is "
        f"{proven['expected']:,}, but {proven['claimed']:,} was signed.",
    )


def tell_judgement(scene: Scene, fraud: AcceptedFraud, tell: Tell) -> None:
    """Tell how the watcher proved the wrong value, if it did, and the consequences."""
    for log in scene.events("ChallengeProven", digest=fraud.digest):
        _tell_proof(scene, log, tell)
    tell(
        PROTOCOL,
        f"Revokes round {fraud.round}: the head is the model of round {fraud.base.round} again.",
    )
    slashes = scene.slashes(fraud.round)
    lost, burnt = (sum(slash[what] for slash in slashes) for what in ("amount", "burnt"))
    tell(
        PROTOCOL,
        f"Slashes the {len(slashes)} signers by {ether(lost)} in total: {ether(burnt)} is burnt, "
        f"{ether(lost - burnt)} is paid to the watcher.",
    )


# ---------------------------------------------------------------------- the facts


def proof_fact(scene: Scene, fraud: AcceptedFraud) -> Fact:
    """The fact that the watcher proved exactly the change that the colluders made."""
    logs = scene.events("ChallengeProven", digest=fraud.digest)
    if not logs:
        return Fact(f"The wrong value in the model of round {fraud.round} was proven.", False)
    proven = logs[0]["args"]
    coordinate, expected, claimed = (proven[w] for w in ("coordinate", "expected", "claimed"))
    return Fact(
        f"The proof names the coordinate, {coordinate}, and both values there: {claimed:,} was "
        f"signed, {expected:,} is correct.",
        coordinate == fraud.coordinate and claimed == expected + 1,
    )


def facts_of(scene: Scene, frauds: Sequence[AcceptedFraud], newcomer: str) -> tuple[Fact, ...]:
    """The facts about every wrong model, its signers, the watcher and the round after.

    ``newcomer`` is the aggregator of that round, or "" if there was none.
    """
    base, last = frauds[0].base, frauds[-1].round + 1
    which = " and ".join(str(fraud.round) for fraud in frauds)
    plural = "s" if len(frauds) > 1 else ""
    final = scene.simulation.observe()
    return (
        Fact(
            f"The wrong model{plural} of round{plural} {which} had become the head, with all the "
            "stake behind it.",
            all(f.is_head and 0 < f.all_stakes == sum(f.stakes.values()) for f in frauds),
        ),
        Fact(
            f"Round{plural} {which} ended revoked, and the head went back to the model of round "
            f"{base.round}.",
            all(is_revoked(scene, fraud, base) for fraud in frauds),
        ),
        *_facts_of_money(scene, frauds, f"round{plural} {which}"),
        Fact(
            f"Round {last} was accepted from the same base, with the correct model, and is final.",
            scene.base_round(last) == base.round
            and scene.signers(last) == {newcomer}
            and is_right(scene, last)
            and final.final_height == final.head.height == base.height + 1,
        ),
    )


def is_revoked(scene: Scene, fraud: AcceptedFraud, base: ModelView) -> bool:
    """Whether a wrong model was revoked, and the history ends with its base."""
    federation = scene.federation
    revoked = scene.events("RoundRevoked", round=fraud.round, height=fraud.wrong.height)
    in_history = federation.model(base.height) == base == fraud.base
    return bool(revoked) and in_history and not federation.window(fraud.round).canonical


def _facts_of_money(scene: Scene, frauds: Sequence[AcceptedFraud], which: str) -> tuple[Fact, ...]:
    watcher, bps = scene.watchers[0], scene.terms.fraud_slash_bps
    slashes = [slash for fraud in frauds for slash in scene.slashes(fraud.round)]
    lost, burnt = (sum(slash[what] for slash in slashes) for what in ("amount", "burnt"))
    reward, gain = scene.reward(watcher), scene.gain(watcher)
    paid = [scene.events("RewardsDistributed", round=fraud.round) for fraud in frauds]
    credited = (scene.events("Credited", round=fraud.round) for fraud in frauds)
    paid_to = {log["args"]["account"] for logs in credited for log in logs}
    return (
        Fact(
            f"Every signer lost {100 * bps // BPS} % of its stake, {ether(lost)} in total, and "
            "half of that is burnt.",
            2 * burnt == lost > 0 and all(_is_punished(scene, fraud, bps) for fraud in frauds),
        ),
        Fact(
            f"The watcher got the other half, {ether(reward)}: a gain of {ether(gain)} after the "
            "gas that it paid.",
            reward == lost - burnt and gain == reward - scene.gas_paid(watcher) > 0,
        ),
        Fact(
            f"Nobody got a reward for {which}.",
            not any(paid) and paid_to <= {watcher},
        ),
    )


def _is_punished(scene: Scene, fraud: AcceptedFraud, bps: int) -> bool:
    """Whether each signer lost the right part of its stake, and still has the rest."""
    taken = {slash["account"]: slash["amount"] for slash in scene.slashes(fraud.round)}
    left = {a: scene.simulation.observe(a).aggregator.stake for a in fraud.stakes}
    due = {address: -(-stake * bps // BPS) for address, stake in fraud.stakes.items()}
    return taken == due and left == {a: fraud.stakes[a] - due[a] for a in due}


def figures_of(scene: Scene, frauds: Sequence[AcceptedFraud]) -> dict[str, Any]:
    """The figures of each wrong model, for readers who want details."""
    return {"frauds": [_figures(scene, fraud) for fraud in frauds]}


def _figures(scene: Scene, fraud: AcceptedFraud) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "round": fraud.round,
        "coordinate": fraud.coordinate,
        "proven": bool(scene.events("FraudProven", digest=fraud.digest)),
        "demands": len(scene.events("Demanded", round=fraud.round)),
    }
    for log in scene.events("ChallengeProven", digest=fraud.digest):
        receipt = scene.federation.web3.eth.get_transaction_receipt(log["transactionHash"])
        figures["expected"], figures["claimed"] = log["args"]["expected"], log["args"]["claimed"]
        figures["challenge_gas"] = receipt["gasUsed"]
    return figures
