"""Private rounds for tests: those of the golden vectors, and any others."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fl_orchestrator.privacy.context import Commit, RoundContext, Seat
from fl_orchestrator.privacy.dealing import Dealing, deal
from fl_orchestrator.privacy.keys import mask_secret, public_key, secret_of
from fl_orchestrator.privacy.seal import Seal, make_seal, parse_seal, right_shares
from support.golden import GOLDEN, unhex

BASE_ROOT = bytes([9] * 32)
FEDERATION = "0x" + "ab" * 20
CHAIN = 31337


def golden_context(row: dict[str, Any]) -> RoundContext:
    commits = zip(row["parties"], row["weights"], row["maskKeys"], strict=True)
    seats = zip(row["accounts"], row["stakes"], row["seatKeys"], strict=True)
    return RoundContext.of(
        chain_id=row["chainId"],
        federation=row["federation"],
        round_number=row["round"],
        base_root=unhex(row["baseRoot"]),
        commits=[Commit(party, weight, unhex(key)) for party, weight, key in commits],
        seats=[Seat(a, int.from_bytes(unhex(s), "big"), unhex(k)) for a, s, k in seats],
        secrecy=row["secrecy"],
    )


def golden_round(number: int) -> tuple[RoundContext, dict[str, Any]]:
    row = GOLDEN["privateRounds"][number]
    return golden_context(row), row


@dataclass(frozen=True)
class PrivateRound:
    """A round after its commit phase, with everybody's secrets, derived from a seed."""

    context: RoundContext
    zs: tuple[bytes, ...]
    seat_secrets: tuple[bytes, ...]
    dealings: tuple[Dealing, ...]
    seals: tuple[Seal, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        weights: list[int],
        stakes: list[int],
        secrecy: int,
        seed: int = 0,
        round_number: int = 3,
        accounts: Sequence[str] = (),
    ) -> "PrivateRound":
        draw = random.Random(seed)
        zs = tuple(draw.randbytes(32) for _ in weights)
        seat_secrets = tuple(secret_of(draw.randbytes(32)) for _ in stakes)
        commits = [
            Commit(f"0x{i + 1:040x}", weight, public_key(mask_secret(zs[i], round_number)))
            for i, weight in enumerate(weights)
        ]
        seats = [
            Seat(
                accounts[p] if accounts else f"0x{1000 + p:040x}",
                stake,
                public_key(seat_secrets[p]),
            )
            for p, stake in enumerate(stakes)
        ]
        context = RoundContext.of(
            chain_id=CHAIN,
            federation=FEDERATION,
            round_number=round_number,
            base_root=BASE_ROOT,
            commits=commits,
            seats=seats,
            secrecy=secrecy,
        )
        dealings = tuple(deal(context, i, z) for i, z in enumerate(zs))
        seals = tuple(make_seal(context, dealing) for dealing in dealings)
        return cls(context, zs, seat_secrets, dealings, seals)

    def parsed(self, k: int) -> Seal:
        return parse_seal(self.context, k, self.seals[k].to_bytes())

    def shares_of(self, position: int, seals: dict[int, Seal]) -> dict[int, dict[int, bytes]]:
        """The right shares that a seat finds in these seals, by k."""
        secret = self.seat_secrets[position]
        return {
            k: right_shares(self.context, k, seal, position, secret) for k, seal in seals.items()
        }
