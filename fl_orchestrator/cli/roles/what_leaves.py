"""What leaves a site in a private federation, and what others could learn from it, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_orchestrator.cli.console import print_pairs, say
from fl_orchestrator.cli.roles.trust import warn_of_trust
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import MAX_WEIGHT

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.party.readers import Readers
    from fl_orchestrator.roles.party.rehearsal import Rehearsal


class NotTrusted(InputError):
    """Aggregators that this site does not trust could read its updates."""


def show_masked(parameters: int, done: Rehearsal, output: Path | None) -> None:
    """What a round of a private federation publishes of a party."""
    say("\nWhat a round would publish, and nothing else of this site:")
    where = f"; without its masks it is in {output}" if output else ""
    print_pairs(
        [
            ("  masked update", f"{parameters:,} numbers of 4 bytes{where}"),
            ("  its seal", "encrypted seeds of its masks, for the aggregators"),
            ("  weight", f"{done.weight} of {MAX_WEIGHT}, for {done.training.samples:,} rows"),
            ("  besides", "this account's address, a fresh public key, when it was sent"),
        ]
    )


@dataclass(frozen=True, slots=True)
class Leaves:
    """What a round of a private federation shows of a party. ``readers`` are its seats now."""

    readers: Readers
    parameters: int
    min_updates: int
    relock: bool
    noise: list[str]
    """What noise on sums promises, in sentences."""

    def show(self, done: Rehearsal, output: Path | None) -> None:
        show_masked(self.parameters, done, output)
        say("\nWho could learn what:")
        for sentence in self.sentences():
            say(f"- {sentence}")

    def sentences(self) -> list[str]:
        """For a data protection officer."""
        readers = self.readers
        found = [
            "The masked update by itself looks random: rows, labels, metrics and the trained "
            "weights cannot be read from it.",
            "Everybody can read the weighted sum of all updates of a round, of at least "
            f"{self.min_updates} parties, the weights, and who took part.",
            "The sum tells more of a party with a large weight among small ones, and of a value "
            "that only one party changes. All other parties of a round together can compute this "
            "site's update from the sum.",
            *self.noise,
        ]
        if self.relock:
            found.append(
                "Rounds may open sums of different parties that start from the same model "
                "(--relock): the difference of two such sums can show a single update."
            )
        if not readers.seats:
            return [*found, "No aggregator is registered yet, so it is not known who could read."]
        share = f"more than {readers.secrecy}/3 of the aggregators' stake"
        found.append(
            f"Aggregators with {share} can, if they work together secretly, read every update: at "
            f"least {readers.fewest} of the {len(readers.seats)} now."
        )
        if readers.alone is not None:
            found.append(f"WARNING: {readers.alone} alone can read every update.")
        found.append(
            "The aggregators' operators: "
            + ", ".join(f"{account} ({self._percent(stake)})" for account, stake in readers.seats)
            + "."
        )
        if readers.trusts is None:
            found.append("This site names no aggregators that it trusts (--trust): all are.")
        else:
            others = sum(stake for _, stake in readers.others)
            verdict = "cannot" if readers.accepted else "CAN"
            found.append(
                f"Aggregators that this site does not trust have {self._percent(others)} of the "
                f"stake: they {verdict} read its updates without the trusted ones."
            )
        return found

    def _percent(self, stake: int) -> str:
        return f"{stake / self.readers.total:.1%}" if self.readers.total else "0%"

    def require_trust(self) -> None:
        """Raise NotTrusted if `flo party run` would sit out because of ``trust``."""
        if not self.readers.accepted:
            raise NotTrusted(
                "Aggregators that this site does not trust could together read its updates.",
                "Ask the owner who was admitted; `flo party run` sits out until that is changed, "
                "or until --trust names more of them.",
            )

    def as_json(self) -> dict[str, Any]:
        readers = self.readers
        return {
            "secrecy": readers.secrecy,
            "min_updates": self.min_updates,
            "relock": self.relock,
            "aggregators": dict(readers.seats),
            "fewest_readers": readers.fewest,
            "reads_alone": readers.alone,
            "not_trusted": [account for account, _ in readers.others],
            "accepted": readers.accepted,
            "sentences": self.sentences(),
        }


def leaves_of(
    chain: Federation, manifest: Manifest, trusted: frozenset[str] | None, deployed_at: int
) -> Leaves | None:
    """What leaves the site in this federation; None if it is not private."""
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
    from fl_orchestrator.cli.options.noise import noise_sentences
    from fl_orchestrator.roles.party.readers import Readers

    warn_of_trust(chain, trusted)
    if not isinstance(chain, PrivateFederation):
        return None
    index = PrivateRoundIndex(chain, deployed_at)
    index.search_to(chain.observe(chain.address).block_number)
    private = chain.private_params()
    seats = tuple((row.account, row.stake) for row in index.present_seats())
    return Leaves(
        Readers(seats, private.secrecy, trusted),
        manifest.layout.parameters,
        chain.params().min_updates,
        private.relock,
        noise_sentences(manifest),
    )
