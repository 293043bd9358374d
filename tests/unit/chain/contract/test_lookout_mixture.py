"""One look for many accounts is never stale: it is what a reading of each account would give."""

import hashlib
import itertools
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import booleans, integers, sampled_from
from support.federation import SmallFederation, consortium
from support.reorg import Fork

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.lookout import Lookout
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Observation, Phase, Role, Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.model.digests import Result, commitment
from fl_orchestrator.roles.setup import Terms

PARTIES = 4
MEMBERS = integers(0, PARTIES - 1)
ROLES = sampled_from(Role)
PERIODS = (1, 300, 700, 4_000, 90_000)
FULL = (1 << PARTIES) - 1


class Mixture(RuleBasedStateMachine):
    """Anything that changes what an observation says, in any order, and reorganisations."""

    world: ClassVar[SmallFederation]
    lookouts: ClassVar[list[Lookout]]

    def __init__(self) -> None:
        super().__init__()
        self.start = Fork(self.world.chain)
        self.fork: Fork | None = None
        self.federation = self.world.federation
        self.members = [*self.world.parties, *self.world.aggregators, self.world.outsider]
        self.turn = itertools.count()
        self.updates: dict[tuple[int, int], Update] = {}
        self.results: list[Result] = []

    def teardown(self) -> None:
        for key in self.members:
            self.compare(key)
        self.start.reorganise()
        self.compare(self.members[0])

    def compare(self, key: LocalSigner) -> None:
        fresh = self.federation.read_observation(key.address)
        for lookout in self.lookouts:
            assert lookout.observe(key.address) == fresh

    def send(self, key: LocalSigner, *calls: Call) -> bool:
        """Whether the contract accepts the calls, up to the first that it refuses."""
        try:
            for call in calls:
                self.world.send(key, call)
        except ContractReverted:
            return False
        finally:
            # Different accounts in each turn: what was not looked at must not be stale later.
            for _ in range(2):
                self.compare(self.members[next(self.turn) * 5 % len(self.members)])
        return True

    def seen(self) -> Observation:
        return self.federation.read_observation(self.world.owner.address)

    # ------------------------------------------------------------------ rounds

    @rule()
    def open_round(self) -> None:
        self.send(self.world.keeper_key, self.federation.open_round())
        self.world.chain.mine()
        self.send(self.world.keeper_key, self.federation.open_round())

    @rule(member=MEMBERS, relayed=booleans(), copied=booleans())
    def commit(self, member: int, relayed: bool, copied: bool) -> None:
        key, number = self.world.parties[member], self.seen().current.round
        root = hashlib.sha256(b"" if copied else f"{member} {number}".encode()).digest()
        update = Update(key.address, 1, root, Cid(root, 0x55), bytes(32))
        self.updates[number, member] = update
        opened = commitment(
            chain_id=self.federation.chain_id,
            federation=self.federation.address,
            round_number=number,
            party=key.address,
            root=root,
            cid=update.cid,
            weight=1,
            salt=bytes(32),
        )
        if relayed:
            signed = self.federation.sign_commit(key, number, opened)
            self.send(self.world.keeper_key, self.federation.commit_for([signed]))
        else:
            self.send(key, self.federation.commit(number, opened))

    @rule(only=integers(1, FULL))
    def reveal(self, only: int) -> None:
        number = self.seen().current.round
        found = [u for (n, member), u in self.updates.items() if n == number and only >> member & 1]
        if found:
            self.send(self.world.keeper_key, self.federation.reveal(found))

    @rule()
    def attest(self) -> None:
        current = self.seen().current
        if current.phase is Phase.ATTEST:
            included = (1 << current.reveals) - 1
            root, cid = hashlib.sha256(current.seed).digest(), Cid(current.seed, 0x70)
            result = Result(
                current.round, current.updates_hash, current.base_root, included, root, cid
            )
            signed = [self.federation.sign_result(key, result) for key in self.world.aggregators]
            if self.send(self.world.keeper_key, self.federation.attest(result, signed)):
                self.results.append(result)

    @rule(only=integers(1, FULL), revealed=integers(1, FULL))
    def whole_round(self, only: int, revealed: int) -> None:
        self.world.chain.mine(2_000)
        self.open_round()
        for member in range(PARTIES):
            if only >> member & 1:
                self.commit(member, relayed=True, copied=False)
        if self.seen().current.phase is Phase.COMMIT:
            self.world.chain.mine(600)
        self.reveal(revealed)
        if self.seen().current.phase is Phase.REVEAL:
            self.world.chain.mine(600)
        self.attest()

    @precondition(lambda self: self.results)
    @rule()
    def reward(self) -> None:
        result = self.results[-1]
        updates = self.federation.revealed_updates(0, round_number=result.round)
        self.world.chain.mine(5_000)
        self.send(
            self.world.keeper_key,
            self.federation.finalize(),
            self.federation.distribute(result, updates),
        )

    @precondition(lambda self: self.results)
    @rule()
    def revoke(self) -> None:
        """Nobody shows the model: its signers are convicted, and the round is revoked."""
        result, keeper = self.results[-1], self.world.keeper_key
        digest = self.federation.digest_of(result)
        bond = 8 * self.world.terms.demand_bond
        if self.send(keeper, self.federation.demand(result.round, 1, 0, bond)):
            (demand,) = self.federation.demands(0, round_number=result.round)[-1:]
            self.world.chain.mine(700)
            self.send(keeper, self.federation.expire(demand.id, result))
            self.send(keeper, self.federation.slash_signer(digest, 0))

    # ------------------------------------------------------------------ accounts

    @rule(member=MEMBERS, role=ROLES, stake=sampled_from([1, 3]))
    def register(self, member: int, role: Role, stake: int) -> None:
        key = self.world.parties[member]
        minimum = self.world.terms.min_party_stake if role is Role.PARTY else 10**18
        self.send(self.world.owner, self.federation.admit([key.address], role))
        self.send(key, self.federation.register(role, key.address, stake * minimum))

    @rule(member=MEMBERS)
    def deposit(self, member: int) -> None:
        self.send(self.world.parties[member], self.federation.deposit(10**15))

    @rule(member=MEMBERS, role=ROLES, by_owner=booleans())
    def leave(self, member: int, role: Role, by_owner: bool) -> None:
        key = (self.world.parties if role is Role.PARTY else self.world.aggregators * 4)[member]
        if by_owner:
            self.send(self.world.owner, self.federation.remove(key.address, role))
        else:
            self.send(key, self.federation.request_unbond(key.address, role))

    @rule(member=MEMBERS, role=ROLES)
    def withdraw(self, member: int, role: Role) -> None:
        key = (self.world.parties if role is Role.PARTY else self.world.aggregators * 4)[member]
        self.send(key, self.federation.withdraw(key.address, role))
        self.send(key, self.federation.withdraw_rewards(key.address))

    @rule(member=MEMBERS)
    def absence(self, member: int) -> None:
        key = self.world.parties[member]
        self.send(self.world.outsider, self.federation.slash_unrevealed(key.address))
        self.send(self.world.outsider, self.federation.mark_absent(key.address))

    @rule(member=MEMBERS)
    def come_back(self, member: int) -> None:
        number = self.seen().current.round
        self.send(self.world.parties[member], self.federation.come_back(number))

    # ------------------------------------------------------------------ time

    @rule(seconds=sampled_from(PERIODS), blocks=integers(1, 3))
    def wait(self, seconds: int, blocks: int) -> None:
        for _ in range(blocks):
            self.world.chain.mine(seconds)
        self.compare(self.members[next(self.turn) % len(self.members)])

    @rule()
    def remember(self) -> None:
        self.fork = Fork(self.world.chain)

    @precondition(lambda self: self.fork)
    @rule(seconds=sampled_from(PERIODS))
    def reorganise(self, seconds: int) -> None:
        assert self.fork is not None
        self.fork.reorganise()
        self.fork = None
        self.results.clear()
        self.compare(self.members[next(self.turn) % len(self.members)])
        self.world.chain.mine(seconds)
        self.compare(self.members[next(self.turn) % len(self.members)])


CONSORTIUM = consortium(PARTIES, min_updates=1)
CROWD = Terms(max_parties=8, participants=2, min_updates=1, open_admission=True)


@pytest.mark.parametrize("terms", [CONSORTIUM, CROWD], ids=["consortium", "crowd"])
def test_no_transaction_reorg_or_time_makes_a_look_stale(tmp_path: Path, terms: Terms) -> None:
    class Here(Mixture):
        world = SmallFederation(tmp_path, PARTIES, 2, terms, register=not terms.open_admission)
        lookouts: ClassVar[list[Lookout]] = []

    small = Here.world
    if terms.open_admission:
        small.federation.share(small.deployment.block)
        small.send(small.owner, small.federation.admit([small.aggregators[0].address], Role(1)))
        for key, role in ((small.parties[0], Role(0)), (small.aggregators[0], Role(1))):
            small.send(key, small.federation.register(role, key.address, 10**18))
    Here.lookouts = [
        Lookout(small.federation),
        Lookout(small.federation, since=small.deployment.block),
    ]
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=3,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
