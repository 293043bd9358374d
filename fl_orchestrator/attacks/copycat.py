"""A party without data that replays another party's update."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from fl_orchestrator.attacks.adversary import Adversary, in_words
from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Fact, Tell, Verdict
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.protocol import BPS
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.units import ether

_VICTIM: Final = 0
_THIEF: Final = 3
_PARTIES: Final = 4
_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Copycat(Attack):
    """Copies a commitment, then a root of an earlier round, then one that is just revealed."""

    name: ClassVar[str] = "copycat"
    summary: ClassVar[str] = "A party without data copies another party's update, to be paid."
    remains: ClassVar[str] = (
        "A copy that is changed by one unit has another root and counts: the protocol cannot tell "
        "a trained update from an invented one."
    )

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        scene = Scene(directory, Options(parties=_PARTIES, rounds=2, seed=seed))
        thief = scene.adversary(_THIEF)
        tell(HEADING, "Round 1")
        unopened = _copy_the_commitment(scene, thief, tell)
        tell(HEADING, "Round 2")
        late = _replay_the_root(scene, thief, tell)
        scene.simulation.settle()
        victim = scene.parties[_VICTIM]
        expected = 2 * scene.terms.min_party_stake * scene.terms.unrevealed_slash_bps // BPS
        lost = scene.stake_lost(thief.address)
        facts = (
            Fact(
                "Its copy of a commitment could not be revealed.",
                unopened is ContractError.CommitmentMismatch,
            ),
            Fact(
                f"It lost {ether(lost)} of its stake for that, all of it burnt.",
                lost == expected == scene.burnt(thief.address),
            ),
            Fact(
                "Its copy of a root was a duplicate: it was revealed, but not counted.",
                _is_duplicate(scene, thief.address, 2),
            ),
            Fact(
                "Its copy of a new root was too late for a commitment.",
                late is ContractError.WrongPhase,
            ),
            Fact(
                f"It earned {ether(scene.reward(thief.address))}.",
                scene.reward(thief.address) == 0,
            ),
            Fact(
                f"Both rounds counted the other {_PARTIES - 1} parties; its victim earned "
                f"{ether(scene.reward(victim))}.",
                all(scene.included(r) == set(scene.parties) - {thief.address} for r in (1, 2))
                and scene.reward(victim) == max(map(scene.reward, scene.parties)) > 0,
            ),
        )
        named = {"the copycat": thief.address, "its victim": victim, "the keeper": scene.keeper}
        figures = {
            "refusals": {"reveal": in_words(unopened), "late_commit": in_words(late)},
            "rounds": 2,
        }
        return Verdict(facts, scene.costs(named), figures)


def _copy_the_commitment(scene: Scene, thief: Adversary, tell: Tell) -> ContractError | None:
    """Run the first round; return the error with which the copy's reveal was refused."""
    simulation, federation = scene.simulation, scene.federation
    simulation.open_round()
    simulation.run_until(lambda o: o.current.commits == _PARTIES - 1)
    victim = scene.parties[_VICTIM]
    (copied,) = (
        log["args"]["commitment"]
        for log in scene.events("Committed")
        if log["args"]["party"] == victim
    )
    refused = thief.attempt(federation.commit(1, copied))
    tell(ATTACKER, "Sees party 1's commitment on the chain and sends the same one as its own.")
    if not refused:
        tell(PROTOCOL, "Accepts it: a commitment is a hash, which does not show its author.")
    simulation.run_until(lambda o: o.current.reveals == _PARTIES - 1)
    update, salt = _revealed(scene, 1)
    tell(
        ATTACKER, "Waits until party 1 has revealed, and reveals the same update for its own copy."
    )
    stolen = thief.claim(update.root, update.cid, update.weight, salt)
    refused = thief.attempt(federation.reveal([stolen]))
    tell(PROTOCOL, f"{in_words(refused)}: the committed hash has party 1's address in it.")
    ended = simulation.run_until(lambda o: o.current.phase is not Phase.REVEAL).current
    tell(
        PROTOCOL,
        f"Waits for the missing reveal until its deadline, {ended.reveal_end - ended.commit_end} "
        "s, then continues.",
    )
    simulation.finish_round()
    tell(PROTOCOL, f"Accepts the round with {len(scene.included(1))} updates, not the copycat's.")
    return refused


def _replay_the_root(scene: Scene, thief: Adversary, tell: Tell) -> ContractError | None:
    """Run the second round; return the error with which a commit after the phase was refused."""
    simulation, federation = scene.simulation, scene.federation
    update, _ = _revealed(scene, 1)
    simulation.open_round()
    simulation.run_until(lambda o: o.current.commits == _PARTIES - 1)
    tell(
        ATTACKER,
        "Takes party 1's update of round 1 from the store and commits to it, this time in its own "
        "name.",
    )
    with simulation.store.get(update.cid, _MAX_BYTES) as stream:
        replayed = thief.update(stream.read(), update.root, update.weight)
    thief.commit(replayed, 2)
    tell(
        PROTOCOL,
        f"Accepts the commitment, and slashes {ether(scene.burnt(thief.address))} of its stake "
        "for the one of round 1 that it never revealed.",
    )
    simulation.run_until(lambda o: o.current.reveals == _PARTIES - 1)
    fresh, _ = _revealed(scene, 2)
    tell(ATTACKER, "Sees party 1 reveal a new update, and wants to commit to that one instead.")
    again = thief.claim(fresh.root, fresh.cid, fresh.weight, salt=bytes(32))
    refused = thief.attempt(federation.commit(2, thief.commitment(again, 2)))
    tell(PROTOCOL, f"{in_words(refused)}: reveals begin only after commits have ended.")
    tell(ATTACKER, "Reveals its copy of the update of round 1.")
    thief.reveal(replayed)
    if _is_duplicate(scene, thief.address, 2):
        tell(PROTOCOL, "DuplicateUpdate: a root counts only once, for the party that revealed it.")
    simulation.finish_round()
    return refused


def _revealed(scene: Scene, round_number: int) -> tuple[RevealedUpdate, bytes]:
    """The victim's update of a round, and its salt, which the reveal has made public."""
    victim = scene.parties[_VICTIM]
    updates = scene.federation.revealed_updates(0, round_number=round_number)
    (update,) = (update for update in updates if update.party == victim)
    (log,) = (log for log in scene.events("UpdateRevealed") if log["args"]["root"] == update.root)
    opened: list[Any] = scene.calldata(log)["updates"]
    (salt,) = (item["salt"] for item in opened if item["party"] == victim)
    return update, salt


def _is_duplicate(scene: Scene, party: str, round_number: int) -> bool:
    duplicates = (log["args"] for log in scene.events("DuplicateUpdate"))
    return (round_number, party) in {(d["round"], d["party"]) for d in duplicates}
