"""The checks after any faults: nothing is lost, and every model is correct."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from chaos.flood import OUTSIDER
from chaos.locks import recorded
from chaos.world import World
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.types import Params, Role, included_indices
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.keeper.keeper import Keeper
from fl_orchestrator.roles.keeper.private import PrivateKeeper
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.relay import Mailbox

_BPS = 10_000


def settle(world: World) -> None:
    """Wait until every challenge window is over, finalize all rounds, distribute their rewards, and
    settle the bonds of all demands."""
    chain, keeper = world.federation.chain, world.federation.local.keeper
    seen = world.observe()
    heights = range(seen.final_height + 1, seen.head.height + 1)
    # Demands on a model extend its challenge window.
    end = max((chain.window(chain.model(h).round).final_at for h in heights), default=0)
    world.rpc("evm_increaseTime", max(0, end - seen.timestamp) + 1)
    world.rpc("evm_setAutomine", True)
    world.rpc("evm_mine")
    sender = Sender(chain.web3, keeper.signer, chain.reverts)
    keepers = PrivateKeeper if isinstance(chain, PrivateFederation) else Keeper
    role = keepers(chain, sender, Mailbox(), 0, lambda _round: False)
    while role.step().action:
        pass
    seen = world.observe()
    assert seen.final_height == seen.head.height
    assert all(map(chain.distributed, range(1, seen.head.height + 1)))
    owed = [demand.id for demand in chain.demands(0) if chain.demand_by_id(demand.id)]
    while owed:
        done = sender.send_together(chain.settle_bond(number) for number in owed)
        assert all(isinstance(one, Receipt) for one in done), done
        del owed[: len(done)]


def check(world: World, scratch: Path) -> str:
    """Check a world that was ended; return a description of what was checked."""
    assert not world.unexpected, "\n".join(world.unexpected)
    no_defects(world)
    settle(world)
    rounds = every_model_is_right(world, scratch)
    nothing_is_lost(world)
    answers = every_demand_is_answered(world)
    locks = one_lock_for_each_round(world)
    private = f"{locks} locks confirmed or released, one by each aggregator in a round, "
    return (
        f"{rounds} accepted models computed again, {answers} demands answered, "
        f"{private if locks else ''}{world.restarts} restarts"
    )


def one_lock_for_each_round(world: World) -> int:
    """No aggregator has ever signed two locks of one round; return the number of locks seen.

    What it signed is what its vault has, which is written first.
    """
    if world.overheard is None:
        return 0
    locks = world.overheard.locks()
    members = {member.address.lower(): member for member in world.federation.local.aggregators}
    written = {a: recorded(m.directory / "private/vault.sqlite") for a, m in members.items()}
    for (address, number, kind), words in locks.items():
        assert words == {written[address][number, kind]}, f"{address} {kind} in round {number}"
    # Every model was opened by words that a quorum has told, and almost all were overheard.
    assert len(locks) >= world.observe().head.height * len(members)
    return len(locks)


def no_defects(world: World) -> None:
    """No process had an unexpected error."""
    for child in world.children.values():
        log = child.log.read_text(errors="replace")
        assert "Traceback" not in log, log[-3000:]
        assert "Unexpected error" not in log, log[-3000:]


def every_model_is_right(world: World, scratch: Path) -> int:
    """Recompute every accepted model from the content of the store; return their number."""
    chain, store = world.federation.chain, world.federation.store
    seen = world.observe()
    context = ReadContext(federation=chain, store=store, manifest=world.manifest, home=scratch)
    index = context.round_index()
    index.search_to(seen.block_number)
    again = Recomputation(context, index)
    for height in range(1, seen.head.height + 1):
        model = chain.model(height)
        accepted = index.accepted(model.round, seen.block_number)
        right = again.compute(accepted.result)
        assert (model.root, model.cid) == (right.root, right.cid), f"round {model.round}"
    assert not index.frauds
    return seen.head.height


def every_demand_is_answered(world: World) -> int:
    """Return the number of demands. The contract takes no answer that is late."""
    chain = world.federation.chain
    made = {demand.id for demand in chain.demands(0)}
    assert made == {answer.id for answer in chain.answers(0)}
    return len(made)


def nothing_is_lost(world: World) -> None:
    """Stakes are unchanged, every round has paid everybody, and the balance covers all of it."""
    federation = world.federation
    chain, local = federation.chain, federation.local
    params, seen = chain.params(), world.observe()
    stakes = 0
    for role, members, stake in (
        (Role.PARTY, local.parties, params.min_party_stake),
        (Role.AGGREGATOR, local.aggregators, params.min_aggregator_stake),
    ):
        for member in members:
            view = chain.observe(member.address)
            held = view.party.stake if role is Role.PARTY else view.aggregator.stake
            assert held == stake, f"{member.name} has lost stake"
            assert not view.unrevealed_slashable, f"{member.name} owes a reveal"
            stakes += held
    credited = {m.address: chain.observe(m.address).credit for m in local.members()}
    earned = expected_credits(world, params)
    assert {a: c for a, c in credited.items() if c} == earned
    balance = chain.web3.eth.get_balance(chain.address)
    # What the outsider has paid for a demand beyond its bond.
    change = chain.observe(OUTSIDER.address).credit
    burnt = sum(bonds_made(world).values()) - sum(paid for _, paid in bonds_paid(world))
    assert balance == stakes + sum(credited.values()) + seen.free_pot + change + burnt


def bonds_made(world: World) -> dict[int, int]:
    """The bond of each demand by its id, in wei."""
    return {demand.id: demand.bond for demand in world.federation.chain.demands(0)}


def bonds_paid(world: World) -> list[tuple[str, int]]:
    """Whom the settlement of each bond has paid, and how much (in wei)."""
    events = world.federation.chain._events("BondSettled", 0, None, None)
    return [(event["args"]["to"], event["args"]["paid"]) for event in events]


def round_index(world: World) -> RoundIndex:
    chain = world.federation.chain
    return (
        PrivateRoundIndex(chain, 0)
        if isinstance(chain, PrivateFederation)
        else RoundIndex(chain, 0)
    )


def expected_credits(world: World, params: Params) -> dict[str, int]:
    """What the rounds of the history pay, by section 7 of the protocol, and what answers earn."""
    chain, local = world.federation.chain, world.federation.local
    seats = {chain.observe(m.address).aggregator.seat: m.address for m in local.aggregators}
    seen = world.observe()
    index = round_index(world)
    index.search_to(seen.block_number)
    earned: Counter[str] = Counter()
    for height in range(1, seen.head.height + 1):
        accepted = index.accepted(chain.model(height).round, seen.block_number)
        result, updates = accepted.result, accepted.updates
        to_aggregators = params.reward * params.aggregator_share_bps // _BPS
        included = included_indices(result.included)
        for update in updates:
            if update.index in included:
                earned[update.party] += (params.reward - to_aggregators) // len(included)
        signers = chain.attestation(chain.digest_of(result)).signers
        for seat, address in seats.items():
            if signers >> seat & 1:
                # All stakes are equal.
                earned[address] += to_aggregators // len(seats)
    for address, paid in bonds_paid(world):
        earned[address] += paid
    return dict(earned)
