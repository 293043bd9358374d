"""A party's trainer with what stays at its site: each round begins from the state that fits it.

A state is in the journal entry of its update, so both are there or neither is. It counts from when
the model of its round is accepted, and belongs to the models after that one. A void or revoked
round leaves no trace in it (docs/protocol.md, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.files import names_in, sync
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.party.journal import ENTRY, STATE
from fl_orchestrator.roles.party.measurements import Measurements
from fl_orchestrator.training.site.local_tensors import LocalTensors, federated
from fl_orchestrator.training.site.state import (
    BadSiteState,
    SiteState,
    metadata_in,
    restore,
    state_in,
    state_of,
    to_bytes,
)
from fl_orchestrator.training.trainer import FloatArray, Metrics, Trainer

_SUFFIX: Final = ".safetensors"
_HEIGHT: Final = "height"
#: States of accepted models below the newest one that are kept for a revocation.
_MOST_KEPT: Final = 64


class SiteTrainer:
    """Restores what a trainer keeps at the site before each use, and gives it out to be saved.

    ``trainer`` is the trainer of the federation's tensors, in the state of the last `at`.
    """

    def __init__(self, context: Context, trainer: Trainer) -> None:
        """Raises BadLocalTensors."""
        self.trainer = federated(trainer, context.manifest)
        self._states = SiteStates(context.home, context.federation)
        self._measurements = Measurements(context.home)

    def at(self, round_number: int, height: int) -> Trainer:
        """The trainer of the federation's tensors, in the site's state for an accepted model.

        Raises BadSiteState and what the trainer raises.
        """
        restore(self.trainer, self._states.of(round_number, height))
        return self.trainer

    def train(
        self, seen: Observation, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics, bytes | None]:
        """`Trainer.fit` in the current round, and the state to save with its update, if any.

        Raises BadSiteState and what the trainer raises.
        """
        trainer = self.at(seen.current.base, seen.head.height)
        trained, samples, metrics = trainer.fit(weights, config)
        self._measurements.trained(seen.current.round, metrics, samples)
        state = state_of(self.trainer)
        kept = to_bytes(state, {_HEIGHT: str(seen.head.height + 1)}) if state else None
        return trained, samples, metrics, kept

    def whole(self, weights: Sequence[FloatArray]) -> list[NDArray[Any]]:
        """All tensors of the trainer's model, those of the site in the state of the last `at`."""
        inner = self.trainer
        return inner.whole(weights) if isinstance(inner, LocalTensors) else list(weights)

    def keep_states(self, seen: Observation, first_round: int) -> None:
        """Keep the states that may still be needed when the journal forgets earlier rounds."""
        self._states.keep(seen, first_round)


class SiteStates:
    """The states of a party's rounds on its disk."""

    def __init__(self, home: Path, federation: Federation) -> None:
        self._journal = home / "journal"
        self._kept = home / "site-states"
        self._federation = federation

    def of(self, round_number: int, height: int) -> SiteState:
        """The state for the model that ``round_number`` made at a height; empty if there is none.

        It is of the newest round, up to that one, whose model is among those that it is based on,
        and in which this party has stored an update. Raises BadSiteState.
        """
        for number, path in self._files().items():
            if number <= round_number and self._is_of(number, path, round_number, height):
                return state_in(path)
        return {}

    def keep(self, seen: Observation, first_round: int) -> None:
        """Move states out of the journal's entries before ``first_round``, and delete old ones.

        Those of accepted models are kept that are not final, and the newest that is: the next round
        starts from one of them, whatever is revoked.
        """
        files = self._files()
        needed = self._needed(files, seen)
        for number, path in files.items():
            if number >= first_round:
                continue
            if number not in needed:
                path.unlink()
            elif path.parent != self._kept:
                self._kept.mkdir(mode=0o700, exist_ok=True)
                path.replace(self._kept / f"{ENTRY}{number}{_SUFFIX}")
                sync(self._kept)

    def _needed(self, files: Mapping[int, Path], seen: Observation) -> set[int]:
        """The accepted rounds that are not final, and the newest one that is."""
        base, height = seen.current.base, seen.head.height
        needed: set[int] = set()
        for number, path in files.items():
            if number > base or not self._is_of(number, path, base, height):
                continue
            needed.add(number)
            if self._height(path) <= seen.final_height or len(needed) == _MOST_KEPT:
                break
        return needed

    def _is_of(self, number: int, path: Path, round_number: int, height: int) -> bool:
        """Whether the round of a state made the model at a height, or one that it is based on."""
        if number == round_number:
            return True
        at = self._height(path)
        return at < height and self._federation.model(at).round == number

    def _height(self, path: Path) -> int:
        """The height of the model that the state's round was to make."""
        found = metadata_in(path).get(_HEIGHT, "")
        if not found.isdecimal():
            raise BadSiteState(f"The file {path} is not a site's state.", "Delete it.")
        return int(found)

    def _files(self) -> dict[int, Path]:
        """The states' files by their rounds, the newest first; an entry's comes before a kept one.

        A round has both if a reorg made it current again.
        """
        kept = [
            (name.removesuffix(_SUFFIX), self._kept / name)
            for name in names_in(self._kept)
            if name.endswith(_SUFFIX)
        ]
        entries = [(name, self._journal / name / STATE) for name in names_in(self._journal)]
        found = {}
        for name, path in kept + entries:
            number = name.removeprefix(ENTRY)
            if number != name and number.isdecimal() and path.exists():
                found[int(number)] = path
        return dict(sorted(found.items(), reverse=True))
