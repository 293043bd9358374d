"""What a flood of demands costs whoever makes it: docs/threat-model.md.

Signers who do not answer a demand in time are slashed. So an attacker may demand more than honest
signers can answer, of a right model. The n-th open demand costs n bonds: beyond what they can
answer within the answer period, the flood has to cost more than there is to be slashed.
"""

from __future__ import annotations

import math
from typing import Final

from fl_orchestrator.chain.sending.batches import ANSWER_GAS
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import MAX_AGGREGATORS
from fl_orchestrator.units import ETHER, ether

#: The bond of the first open demand, where nobody chooses another one, in wei.
DEMAND_BOND: Final = ETHER // 100
#: Of a block, as most public chains have it at least.
BLOCK_GAS: Final = 30_000_000
#: The slowest blocks that `flo` expects unless it is told otherwise, in seconds.
BLOCK_SECONDS: Final = 12
#: A flood costs at least so many times the stake that it could slash.
FLOOD_MARGIN: Final = 10

# What every node keeps of one account's transactions until they are mined: geth's `accountslots`.
_WAITING_PER_ACCOUNT: Final = 16
# A least bond is rounded up to a thousandth of an ETH.
_BOND_STEP: Final = ETHER // 1000
# For honest answers, of a block's gas; the rest is the attacker's, or anybody's. Four aggregators
# on two cores have sent about as many (benchmarks/answers.py).
_SHARE_OF_BLOCK: Final = 1 / 3


class FloodedTerms(InputError):
    """A flood of demands would cost less than it could have slashed."""


def answers_in_time(
    answer_period: int, responders: int, block_seconds: float = BLOCK_SECONDS
) -> int:
    """How many demands made at once so many responders can answer before the answer period ends.

    Each sends 16 answers a block without waiting for them; all have a third of a block's gas.
    """
    # The block in which the period ends is too late.
    blocks = math.ceil(answer_period / block_seconds) - 1
    in_block = int(_SHARE_OF_BLOCK * BLOCK_GAS) // ANSWER_GAS
    return blocks * min(_WAITING_PER_ACCOUNT * responders, in_block)


def flood_cost(demand_bond: int, answers: int) -> int:
    """The bonds of the least flood beyond so many answers, in wei: of one demand more."""
    return demand_bond * (answers + 1) * (answers + 2) // 2


def least_bond(
    answer_period: int, aggregator_stake: int, block_seconds: float = BLOCK_SECONDS
) -> int:
    """The demand bond with which a flood costs ten times the stake of all aggregators, in wei.

    However many aggregators there are, each with ``aggregator_stake``. Raises FloodedTerms where
    the answer period is so short that none of them could answer.
    """
    if answers_in_time(answer_period, 1, block_seconds) < 1:
        raise FloodedTerms(
            f"Within an answer period of {answer_period} s and with {block_seconds:g} s between "
            "blocks, nobody can answer a demand.",
            "Give a longer --answer-period, or the right --block-time.",
        )
    floods = (
        (count, flood_cost(1, answers_in_time(answer_period, count, block_seconds)))
        for count in range(1, MAX_AGGREGATORS + 1)
    )
    exact = max(-(-FLOOD_MARGIN * n * aggregator_stake // bonds) for n, bonds in floods)
    return -(-exact // _BOND_STEP) * _BOND_STEP


def require_bond(
    demand_bond: int,
    answer_period: int,
    aggregator_stake: int,
    block_seconds: float = BLOCK_SECONDS,
) -> None:
    """Raise FloodedTerms for a demand bond below the least one. Amounts in wei."""
    least = least_bond(answer_period, aggregator_stake, block_seconds)
    if demand_bond < least:
        raise FloodedTerms(
            f"With a demand bond of {ether(demand_bond)}, a flood of demands beyond what "
            "honest aggregators can answer costs less than ten times their stake.",
            f"Give a --demand-bond of at least {ether(least)}, a longer --answer-period, or less "
            "--aggregator-stake.",
        )
