"""`flo demo --attack`: each attack fails, as its chain shows, and would be seen to succeed.

The commands run in this process, so that a test can look at the chain of an attack afterwards.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.flo import flo

from fl_orchestrator.attacks import scene
from fl_orchestrator.attacks.absent_aggregator import AbsentAggregator
from fl_orchestrator.attacks.adversary import Adversary
from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Fact, Verdict
from fl_orchestrator.attacks.copycat import Copycat
from fl_orchestrator.attacks.demand_flood import DemandFlood
from fl_orchestrator.attacks.junk_bytes import KINDS, JunkBytes
from fl_orchestrator.attacks.late_party import LateParty
from fl_orchestrator.attacks.poison import Poison
from fl_orchestrator.attacks.registry import ATTACKS
from fl_orchestrator.attacks.withheld_model import WithheldModel
from fl_orchestrator.attacks.wrong_model import WrongModel
from fl_orchestrator.chain.types import included_indices
from fl_orchestrator.cli.trial import attack as attack_command
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.settlement import Slashes
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.simulation.simulation import Simulation
from fl_orchestrator.training import datasets
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic
from fl_orchestrator.training.scales import DIGITS
from fl_orchestrator.units import ETHER

STAKE = 2 * ETHER // 10
SMALL_POISON = Poison(rounds=1, parties=5)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Simulation]:
    """The federations that are attacked, in their order."""
    made: list[Simulation] = []

    class Kept(Simulation):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            made.append(self)

    monkeypatch.setattr(scene, "Simulation", Kept)
    return made


def perform(name: str) -> Any:
    """Run an attack's command; what it says in JSON, which is that the protocol won."""
    said = flo("demo", "--attack", name, "--json").succeeded()
    assert said.err == ""
    assert len(said.out.splitlines()) == 1
    assert (said.json["attack"], said.json["won"]) == (name, True)
    assert all(fact["holds"] for fact in said.json["facts"])
    return said.json


def cost(said: Any, who: str) -> dict[str, int]:
    (found,) = (row for row in said["costs"] if row["who"] == who)
    return {name: value for name, value in found.items() if name != "who"}


def included(simulation: Simulation, round_number: int) -> set[str]:
    federation = simulation.federation
    result = federation.proposed_results(0)[federation.accepted_digests(0)[round_number]]
    updates = federation.revealed_updates(0, round_number=round_number)
    return {u.party for u in updates if u.index in included_indices(result.included)}


def signer_bits(simulation: Simulation) -> list[int]:
    """The signers' seats of every accepted round, as a bitmap."""
    federation = simulation.federation
    digests = federation.accepted_digests(0)
    return [federation.attestation(digests[number]).signers for number in sorted(digests)]


# ---------------------------------------------------------------------- they fail


def test_a_copycat_earns_nothing_and_loses_stake(stages: list[Simulation]) -> None:
    said = perform("copycat")
    (simulation,) = stages
    victim, *_, thief = [key.address for key in simulation.accounts.parties]
    seen = simulation.observe(thief)
    # It did open its second commitment, and yet it was not counted.
    assert (seen.committed.round, seen.committed.revealed) == (2, True)
    for number in (1, 2):
        assert thief not in {u.party for u in simulation.federation.revealed_updates(0)}
        assert len(included(simulation, number)) == 3
    assert (seen.credit, seen.party.stake) == (0, STAKE * 9 // 10)
    assert said["figures"]["refusals"] == {
        "reveal": "CommitmentMismatch",
        "late_commit": "WrongPhase",
    }
    paid = cost(said, "the copycat")
    assert paid["stake_lost_wei"] == STAKE // 10
    assert paid["gas_paid_wei"] > 0
    assert paid["reward_wei"] == 0
    assert paid["reward_forgone_wei"] == simulation.observe(victim).credit > 0


def test_a_late_party_is_left_out_slashed_and_taken_back(stages: list[Simulation]) -> None:
    said = perform("late-party")
    (simulation,) = stages
    silent, late, *others = [key.address for key in simulation.accounts.parties]
    assert included(simulation, 1) == set(others)
    assert included(simulation, 2) == {silent, late, *others}
    assert simulation.observe(silent).party.stake == STAKE * 9 // 10
    assert simulation.observe(late).party.stake == STAKE
    assert said["figures"]["refusals"] == {"late_commit": "WrongPhase"}
    assert cost(said, "the silent party")["stake_lost_wei"] == STAKE // 10
    assert cost(said, "the late party")["stake_lost_wei"] == 0


def test_an_absent_aggregator_stops_nothing_and_is_not_paid(stages: list[Simulation]) -> None:
    said = perform("absent-aggregator")
    (simulation,) = stages
    seats = [simulation.observe(key.address) for key in simulation.accounts.aggregators]
    absent = seats[-1].aggregator.seat
    assert signer_bits(simulation) == [0b1111 ^ 1 << absent, 0b1111 ^ 1 << absent, 0b1111]
    terms = simulation.shape.terms
    share = terms.reward * terms.aggregator_share_bps // 10_000 // 4
    assert [seen.credit for seen in seats] == [3 * share, 3 * share, 3 * share, share]
    # What three parties cannot share equally stays in the pot too, a few wei.
    assert 2 * share <= seats[0].free_pot < 2 * share + 10
    assert cost(said, "the absent one")["reward_forgone_wei"] == 2 * share


def test_junk_is_excluded_by_every_aggregator_and_does_nothing(
    stages: list[Simulation], tmp_path: Path
) -> None:
    said = perform("junk-bytes")
    (simulation,) = stages
    *honest, junker = [key.address for key in simulation.accounts.parties]
    updates = simulation.federation.revealed_updates(0)
    assert [u.round for u in updates if u.party == junker] == list(range(1, len(KINDS) + 1))
    for number in range(1, len(KINDS) + 1):
        assert included(simulation, number) == set(honest)
    assert signer_bits(simulation) == [0b1111] * len(KINDS)
    seen = simulation.observe(junker)
    assert (seen.credit, seen.party.stake) == (0, STAKE)
    assert list(said["figures"]["refusals"]) == list(KINDS)
    assert said["figures"]["files_outside"] == []
    assert cost(said, "the junk sender")["reward_forgone_wei"] > 0


def test_the_trimmed_mean_withstands_poison_and_the_mean_does_not(
    stages: list[Simulation], tmp_path: Path
) -> None:
    verdict = SMALL_POISON.run(tmp_path, 0, lambda *_: None)
    assert verdict.won
    data = datasets.load("digits")
    test = NumpyLogistic(Rows(DIGITS.apply(data.test.x), data.test.y), data.classes)
    clean, mean, trimmed = (
        test.evaluate(simulation.head_weights(), {})[2]["accuracy"] for simulation in stages
    )
    assert [s.manifest.rule.kind for s in stages] == [
        RuleKind.WEIGHTED_MEAN,
        RuleKind.WEIGHTED_MEAN,
        RuleKind.TRIMMED_MEAN,
    ]
    assert trimmed > clean - 0.05
    assert mean < clean - 0.3
    figures = verdict.figures
    assert (clean, mean, trimmed) == (
        figures["accuracy_clean"],
        figures["accuracy_mean"],
        figures["accuracy_defended"],
    )
    for simulation in stages:
        assert len(included(simulation, 1)) == 5


def undone_by_a_watcher(simulation: Simulation, said: Any, rounds: dict[int, int]) -> None:
    """Check that wrong models, by the number of their signers, were undone and paid for.

    The round after the last of them is the second one of the history.
    """
    federation, watcher = simulation.federation, simulation.accounts.watchers[0].address
    digests = federation.accepted_digests(0)
    for number, signers in rounds.items():
        assert not federation.window(number).canonical
        proven = federation.fraud(digests[number])
        assert (proven.challenger, proven.round) == (watcher, number)
        assert proven.slashed.bit_count() == signers
        slashes = federation.slashes(0, round_number=number)
        assert [(s.amount, s.burnt) for s in slashes] == [(ETHER, ETHER // 2)] * signers

    *colluders, honest = [
        simulation.observe(key.address) for key in simulation.accounts.aggregators
    ]
    assert len(colluders) == sum(rounds.values())
    assert {seen.aggregator.stake for seen in colluders} == {0}
    assert honest.aggregator.stake == ETHER

    last = max(rounds) + 1
    heights = [federation.model(height).round for height in range(3)]
    assert heights == [0, 1, last]
    assert federation.proposed_results(0)[digests[last]].base_root == federation.model(1).root
    assert (honest.head.round, honest.head.height, honest.final_height) == (last, 2, 2)

    # What a party has is for two rounds, as many as are in the history.
    terms = simulation.shape.terms
    share = terms.reward * (10_000 - terms.aggregator_share_bps) // 10_000 // 3
    assert {simulation.observe(key.address).credit for key in simulation.accounts.parties} == {
        2 * share
    }
    assert {seen.credit for seen in colluders} == {0}

    # The watcher began with 1000 ETH, and has nothing locked or left to withdraw.
    paid = cost(said, "the watcher")
    bounty = sum(rounds.values()) * ETHER // 2
    assert (paid["reward_wei"], simulation.observe(watcher).credit) == (bounty, 0)
    balance = federation.web3.eth.get_balance(federation.web3.to_checksum_address(watcher))
    assert balance == 1_000 * ETHER + bounty - paid["gas_paid_wei"]


def test_one_watcher_undoes_a_wrong_model(stages: list[Simulation]) -> None:
    said = perform("wrong-model")
    (simulation,) = stages
    undone_by_a_watcher(simulation, said, {2: 3})
    (fraud,) = said["figures"]["frauds"]
    assert fraud["claimed"] == fraud["expected"] + 1
    assert simulation.manifest.layout.locate(fraud["coordinate"]) is not None
    assert (fraud["proven"], fraud["demands"]) == (True, 0)


def test_one_watcher_undoes_models_that_nobody_shows(stages: list[Simulation]) -> None:
    said = perform("withheld-model")
    (simulation,) = stages
    undone_by_a_watcher(simulation, said, {2: 3, 3: 2})
    silent, answered = said["figures"]["frauds"]
    assert "claimed" not in silent
    assert answered["claimed"] == answered["expected"] + 1
    demands = simulation.federation.demands(0)
    assert [(d.round, d.level, d.index) for d in demands] == [
        (2, 8, 0),
        (3, 8, 0),
        (3, 2, 0),
        (3, 0, answered["coordinate"] // 256),
    ]
    answers = simulation.federation.answers(0)
    assert [answer.id for answer in answers] == [demand.id for demand in demands[1:]]
    # Every bond is settled: no demand is left.
    assert [simulation.federation.demand_by_id(demand.id) for demand in demands] == [None] * 4


def test_a_flood_of_demands_convicts_nobody_but_a_cartel(
    monkeypatch: pytest.MonkeyPatch, stages: list[Simulation]
) -> None:
    monkeypatch.setitem(ATTACKS, "demand-flood", DemandFlood(flood=12, demands=20))
    said = perform("demand-flood")
    flooded, cartel = stages
    assert len(flooded.federation.answers(0)) == 12
    assert cartel.federation.answers(0) == []
    assert cost(said, "the outsider")["bonds_lost_wei"] == 78 * ETHER // 100
    assert cost(said, "an honest aggregator")["stake_lost_wei"] == 0
    demander, other = cost(said, "the demanding colluder"), cost(said, "another colluder")
    assert demander["stake_lost_wei"] == other["stake_lost_wei"] == ETHER
    # The bonds of a revoked round come back; of the three stakes, half.
    assert (demander["bonds_lost_wei"], demander["reward_wei"]) == (0, 3 * ETHER // 2)
    # It lost no more than gas, for what it is not paid.
    watcher = cost(said, "the watcher")
    assert (watcher["bonds_lost_wei"], watcher["reward_wei"]) == (0, 0)
    assert 0 < watcher["gas_paid_wei"] < ETHER // 100


def test_poison_is_told_to_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTACKS, "poison", SMALL_POISON)
    said = flo("demo", "--attack", "poison").succeeded().out
    for words in ("no attack", "trimmed mean", "The mean has no defence", "The protocol won"):
        assert words in said
    assert "What remains: This is robustness by rule, not detection" in said


# ---------------------------------------------------------------------- they could succeed


def with_fresh_numbers(monkeypatch: pytest.MonkeyPatch) -> Attack:
    """The copy becomes an update of its own."""
    honest = Adversary.update
    monkeypatch.setattr(
        Adversary, "update", lambda self, content, root, weight: honest(self, *self.file(9, 2))
    )
    return Copycat()


def with_free_silence(monkeypatch: pytest.MonkeyPatch) -> Attack:
    monkeypatch.setattr(scene, "Terms", lambda **given: Terms(**given, unrevealed_slash_bps=0))
    return LateParty()


def with_three_aggregators(_: pytest.MonkeyPatch) -> Attack:
    """Two of three stakes are not more than two thirds."""
    return AbsentAggregator(aggregators=3)


def with_a_good_file(_: pytest.MonkeyPatch) -> Attack:
    return JunkBytes(kinds={"nothing wrong": lambda content, _: content})


def with_a_reader_that_unpacks(monkeypatch: pytest.MonkeyPatch) -> Attack:
    def unpack(content: bytes, canary: Path) -> bytes:
        canary.write_bytes(content)
        return content[:-1]

    return JunkBytes(kinds={"unpacked": unpack})


def with_the_mean(_: pytest.MonkeyPatch) -> Attack:
    return Poison(defence=RuleSpec(), rounds=1, parties=5)


def with_nobody_watching(_: pytest.MonkeyPatch) -> Attack:
    return WrongModel(watched=False)


def with_nobody_demanding(_: pytest.MonkeyPatch) -> Attack:
    return WithheldModel(watched=False)


def with_nobody_answering(_: pytest.MonkeyPatch) -> Attack:
    return DemandFlood(flood=4, demands=2, answered=False)


def with_nobody_expiring(_: pytest.MonkeyPatch) -> Attack:
    return DemandFlood(flood=2, demands=4, watched=False)


def with_nobody_slashing(monkeypatch: pytest.MonkeyPatch) -> Attack:
    monkeypatch.setattr(Slashes, "due", lambda *_: iter(()))
    return WrongModel()


@pytest.mark.parametrize(
    ("sabotage", "lost"),
    [
        (with_nobody_watching, "Round 2 ended revoked, and the head went back to the model of"),
        (with_nobody_slashing, "Every signer lost 100 % of its stake, 0 ETH in total, and half of"),
        (with_nobody_demanding, "In round 2, the silence was sufficient proof."),
        (with_nobody_answering, "Every one of the 4 demands was answered in time."),
        (with_nobody_expiring, "One of the cartel's own 4 demands convicted it, never."),
        (
            with_fresh_numbers,
            "Its copy of a root was a duplicate: it was revealed, but not counted.",
        ),
        (with_free_silence, "The silent party lost 0 ETH of its stake, all of it burnt."),
        (with_three_aggregators, "Round 1 was accepted without it."),
        (with_a_good_file, "Every round was accepted with the honest updates and no other."),
        (with_a_reader_that_unpacks, "Nothing was unpickled, and nothing written outside of"),
        (with_the_mean, "Attacked, the weighted mean ends at"),
    ],
)
def test_a_protocol_that_loses_is_said_to_lose(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], Attack], lost: str
) -> None:
    attack = sabotage(monkeypatch)
    monkeypatch.setitem(ATTACKS, attack.name, attack)
    said = flo("demo", "--attack", attack.name)
    assert said.code == 1, said.err
    assert "The protocol did not win" in said.out
    assert f"  NO   {lost}" in said.out


# ---------------------------------------------------------------------- the command


class Staged(Attack):
    """Nothing happens, at length."""

    name = "staged"
    summary = "A party tells a story that is far too long for one line of a terminal, to be heard."
    remains = "It may tell another one, which is as long as the first one and has no end either."

    def __init__(self, won: bool) -> None:
        self._won = won

    def run(self, directory: Path, seed: int, tell: Any) -> Verdict:
        assert list(directory.iterdir()) == []
        tell(HEADING, "Round 1")
        tell(ATTACKER, "Speaks of [brackets] and other words, " + "on and on, " * 12 + "and stops.")
        tell(PROTOCOL, f"Listens, seed {seed}.")
        return Verdict((Fact("It was heard, and nobody minded. " * 4, self._won),), (), {"n": 1})


@pytest.mark.parametrize("won", [True, False])
def test_the_exit_code_and_the_json_say_who_won(monkeypatch: pytest.MonkeyPatch, won: bool) -> None:
    monkeypatch.setitem(ATTACKS, "staged", Staged(won))
    done = flo("demo", "--attack", "staged", "--seed", "7", "--json")
    assert done.code == (0 if won else 1)
    seconds = done.json.pop("seconds")
    assert 0 <= seconds < 60
    assert done.json | {"seconds": 0} == {
        "attack": "staged",
        "seed": 7,
        "won": won,
        "facts": [{"text": "It was heard, and nobody minded. " * 4, "holds": won}],
        "costs": [],
        "figures": {"n": 1},
        "seconds": 0,
    }


def test_a_story_fits_a_terminal_and_is_not_broken_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ATTACKS, "staged", Staged(won=True))
    piped = flo("demo", "--attack", "staged").succeeded().out
    assert "  attacker  Speaks of [brackets] and other words, on and on, " in piped
    assert "and stops.\n  protocol  Listens, seed 0.\n" in piped

    file = io.StringIO()
    terminal = Console(file=file, width=80, force_terminal=True, color_system=None)
    terminal.is_interactive = False
    monkeypatch.setattr(attack_command, "out", terminal)
    monkeypatch.setattr(attack_command, "quiet_if", lambda _quiet: terminal)
    flo("demo", "--attack", "staged").succeeded()
    lines = re.sub(r"\x1b\[\S*?[a-zA-Z]", "", file.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    second = next(i for i, line in enumerate(lines) if line.startswith("  attacker  ")) + 1
    assert lines[second].startswith(" " * 12 + "on")


def test_an_unknown_attack_is_refused_with_the_names_of_all() -> None:
    flo("demo", "--attack", "nonsense").refused(2, "no attack 'nonsense'", ", ".join(ATTACKS))


@pytest.mark.parametrize(
    "option", [("--rounds", "3"), ("--dataset", "digits"), ("--out", "x"), ("--parties", "10")]
)
def test_an_option_that_an_attack_does_not_heed_is_refused(option: tuple[str, str]) -> None:
    refused = flo("demo", "--attack", "copycat", *option)
    refused.refused(2, f"{option[0]} does not go with --attack", "--seed and --json")


def test_an_impossible_seed_is_refused() -> None:
    flo("demo", "--attack", "copycat", "--seed", "-1").refused(2, "--seed is -1; it must be 0 to")


def test_help_names_every_attack() -> None:
    # Lines also end after a hyphen.
    shown = " ".join(flo("demo", "--help").succeeded().out.split()).replace("- ", "-")
    assert [name for name in ATTACKS if name not in shown] == []


ALONE = """
import sys
from fl_orchestrator.cli.main import main
from fl_orchestrator.units import ETHER
sys.argv = ["flo", "demo", "--attack", "late-party", "--json"]
try:
    main()
finally:
    print([name for name in ("tensorflow", "keras", "matplotlib") if name in sys.modules])
"""


def test_an_attack_runs_in_a_process_of_its_own_without_tensorflow() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    said, loaded = done.stdout.splitlines()
    assert json.loads(said)["won"] is True
    assert loaded == "[]"
