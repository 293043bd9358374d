"""Which of its saved states a site goes on from, and which it keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.observations import SOME_CID, seen

from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.roles.party.journal import EntryFolder
from fl_orchestrator.roles.party.site import SiteStates
from fl_orchestrator.training.site.state import BadSiteState, to_bytes


class Site:
    """A party's directory, and a chain whose accepted rounds the test sets by their heights."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.accepted: list[int] = [0]
        federation: Any = SimpleNamespace(model=self._model)
        self.states = SiteStates(home, federation)
        self.journal = EntryFolder(home / "journal", "values.json")

    def _model(self, height: int) -> ModelView:
        return ModelView(height, self.accepted[height], bytes(32), SOME_CID)

    @property
    def seen(self) -> Observation:
        height = len(self.accepted) - 1
        return seen(
            head=self._model(height),
            current={"base": self.accepted[height]},
            final_height=self.final,
        )

    final = 0

    def train(self, number: int) -> None:
        """Save an update of a round, with a state that is the round's number."""
        file = self.home / "update"
        file.write_bytes(b"update")
        self.states.keep(self.seen, number - 1)
        self.journal.forget_before(number - 1)
        height = str(len(self.accepted))
        self.journal.save(number, {}, file, to_bytes({"n": np.array(number)}, {"height": height}))

    def accept(self, number: int) -> None:
        self.accepted.append(number)

    def now(self) -> int | None:
        """The state from which the next round starts; None: that of a new trainer."""
        state = self.states.of(self.accepted[-1], len(self.accepted) - 1)
        return int(state["n"]) if state else None


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_new_site_has_no_state(site: Site) -> None:
    assert site.now() is None


def test_a_state_counts_when_the_model_of_its_round_is_accepted(site: Site) -> None:
    site.train(1)
    assert site.now() is None
    site.accept(1)
    assert site.now() == 1


def test_a_void_round_leaves_the_state_from_before(site: Site) -> None:
    site.train(1)
    site.accept(1)
    for void in (2, 3, 4, 5, 6):
        site.train(void)
        assert site.now() == 1
    site.train(7)
    site.accept(7)
    assert site.now() == 7


def test_a_void_rounds_state_is_not_used_after_a_round_without_this_party(site: Site) -> None:
    site.train(1)
    site.accept(1)
    site.train(2)
    site.accept(3)
    assert site.now() == 1


def test_a_revoked_rounds_state_is_not_used(site: Site) -> None:
    for number in (1, 2, 3, 4, 5, 6):
        site.train(number)
        site.accept(number)
    assert site.now() == 6
    for left in (5, 4, 3, 2, 1):
        del site.accepted[left + 1 :]
        assert site.now() == left
    site.train(7)
    site.accept(7)
    assert site.now() == 7
    del site.accepted[2:]
    assert site.now() == 1


def test_states_below_the_newest_final_one_are_deleted(site: Site) -> None:
    for number in range(1, 10):
        site.train(number)
        site.accept(number)
        site.final = max(0, number - 3)
    site.train(10)
    found = {path.stem for path in (site.home / "site-states").iterdir()}
    assert found == {"round-6", "round-7", "round-8"}
    assert site.now() == 9


def test_without_a_final_model_at_most_64_states_are_kept(site: Site) -> None:
    for number in range(1, 80):
        site.train(number)
        site.accept(number)
    assert len(list((site.home / "site-states").iterdir())) <= 64
    assert site.now() == 79


def test_a_damaged_state_is_told_with_its_file(site: Site) -> None:
    site.train(1)
    site.accept(1)
    file = site.home / "journal" / "round-1" / "state.safetensors"
    file.write_bytes(b"junk")
    with pytest.raises(BadSiteState, match=r"round-1/state\.safetensors is damaged") as damage:
        site.now()
    assert "backup" in (damage.value.hint or "")


def test_a_file_without_its_height_is_no_state(site: Site) -> None:
    site.train(1)
    site.accept(2)
    site.accept(3)
    file = site.home / "journal" / "round-1" / "state.safetensors"
    file.write_bytes(to_bytes({"n": np.array(1)}, {"height": "x"}))
    with pytest.raises(BadSiteState, match="not a site's state"):
        site.now()
