"""The follower of the history: each accepted and each revoked model once, in order."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.crashes import Killed
from support.observations import SOME_CID, seen

from fl_orchestrator.chain.contract import cursor as cursors
from fl_orchestrator.chain.contract import history
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.history import HistoryFollower, HistoryHook
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.files import write_whole


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What survives a failure of the power is tested with `write_whole`."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


GENESIS = ModelView(0, 0, b"\xff" * 32, SOME_CID)


class Chain:
    """The view calls of a federation whose history the test writes; every root is used once."""

    chain_id = 5
    address = "0x" + "ab" * 20

    def __init__(self) -> None:
        self.history = [GENESIS]
        self.block = 100
        self.final = 0
        self.requests = 0
        self.before_model: Callable[[], None] = lambda: None
        self._round = 0

    def accept(self, count: int = 1) -> None:
        for _ in range(count):
            self._round += 1
            root = self._round.to_bytes(32, "big")
            self.history.append(ModelView(len(self.history), self._round, root, SOME_CID))
            self.block += 5

    def revoke_from(self, height: int) -> None:
        del self.history[height:]
        self.block += 5

    def look(self) -> Observation:
        """What a role has seen, at no cost for the follower."""
        return seen(head=self.history[-1], block_number=self.block, final_height=self.final)

    def observe(self, account: str) -> Observation:
        assert account == self.address
        self.requests += 1
        return self.look()

    def model(self, height: int) -> ModelView:
        self.requests += 1
        self.before_model()
        if height >= len(self.history):
            raise ContractReverted(ContractError.BeyondHead, (len(self.history) - 1,))
        return self.history[height]


class Log(HistoryHook):
    """Notes the rounds that it is told of: +3 is accepted, -3 revoked."""

    def __init__(self) -> None:
        self.rounds: list[str] = []
        self.models: list[ModelView] = []

    def on_accepted(self, model: ModelView) -> None:
        self.rounds.append(f"+{model.round}")
        self.models.append(model)

    def on_revoked(self, model: ModelView) -> None:
        self.rounds.append(f"-{model.round}")
        assert self.models.pop() == model


class Site:
    """A chain, a hook, and the follower's cursor on disk."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.chain = Chain()
        self.log = Log()
        self.path = directory / "home" / "cursor.json"
        self._options = options
        self.restart()

    def restart(self) -> None:
        self.follower = HistoryFollower(self.chain, self.path, **self._options)

    def deliver(self, **options: Any) -> list[str]:
        """What is reported now."""
        before = len(self.log.rounds)
        count = self.follower.deliver(self.log, self.chain.look(), **options)
        new = self.log.rounds[before:]
        assert count == len(new)
        return new


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# What is reported


def test_every_accepted_round_is_reported_once(site: Site) -> None:
    assert site.deliver() == []
    site.chain.accept()
    assert site.deliver() == ["+1"]
    site.chain.accept(2)
    assert site.deliver() == ["+2", "+3"]
    assert site.deliver() == []
    assert site.log.models == site.chain.history[1:]


def test_a_restart_repeats_nothing_and_misses_nothing(site: Site) -> None:
    site.chain.accept()
    site.deliver()
    site.restart()
    assert site.deliver() == []
    site.chain.accept(2)
    site.restart()
    assert site.deliver() == ["+2", "+3"]


def test_a_revoked_round_is_reported_before_the_one_that_takes_its_height(site: Site) -> None:
    site.chain.accept(2)
    site.deliver()
    site.chain.revoke_from(2)
    site.chain.accept()
    assert site.deliver() == ["-2", "+3"]
    assert site.deliver() == []


def test_what_is_based_on_a_revoked_round_is_revoked_first(site: Site) -> None:
    site.chain.accept(4)
    site.deliver()
    site.chain.revoke_from(2)
    assert site.deliver() == ["-4", "-3", "-2"]
    site.chain.accept()
    assert site.deliver() == ["+5"]


def test_a_round_that_returns_with_a_reorganisation_is_reported_again(site: Site) -> None:
    site.chain.accept(2)
    site.deliver()
    cut = site.chain.history[2:]
    site.chain.revoke_from(2)
    assert site.deliver() == ["-2"]
    site.chain.history += cut
    assert site.deliver() == ["+2"]


def test_the_same_round_with_another_model_is_another_one(site: Site) -> None:
    site.chain.accept(2)
    site.deliver()
    site.chain.history[2] = dataclasses.replace(site.chain.history[2], root=b"\7" * 32)
    assert site.deliver() == ["-2", "+2"]


def test_a_follower_without_a_cursor_reports_to_the_end_of_the_process(tmp_path: Path) -> None:
    chain, log = Chain(), Log()
    chain.accept(2)
    follower = HistoryFollower(chain)
    assert follower.deliver(log) == 2
    assert follower.deliver(log) == 0
    assert log.rounds == ["+1", "+2"]


def test_a_follower_may_begin_with_the_head(tmp_path: Path) -> None:
    site = Site(tmp_path, from_head=True)
    site.chain.accept(3)
    assert site.deliver() == ["+3"]
    site.chain.revoke_from(2)
    assert site.deliver() == ["-3"]
    site.chain.accept()
    site.restart()
    assert site.deliver() == ["+4"]


def test_a_follower_that_begins_with_the_head_may_begin_with_genesis(tmp_path: Path) -> None:
    site = Site(tmp_path, from_head=True)
    assert site.deliver() == ["+0"]
    site.restart()
    site.chain.accept()
    assert site.deliver() == ["+1"]


def test_rounds_below_a_revoked_beginning_are_followed_too(tmp_path: Path) -> None:
    site = Site(tmp_path, from_head=True)
    site.chain.accept(5)
    site.deliver()
    site.chain.revoke_from(2)
    assert site.deliver() == ["-5"]
    assert site.deliver() == []
    site.chain.accept()
    assert site.deliver() == ["+6"]


# What it costs


def test_it_asks_for_nothing_while_nothing_is_new(site: Site) -> None:
    for accepted in (0, 1, 3):
        site.chain.accept(accepted)
        site.deliver()
        site.chain.requests = 0
        for _ in range(3):
            assert site.deliver() == []
        assert site.chain.requests == 0


def test_a_new_round_takes_two_requests(site: Site) -> None:
    site.chain.accept(40)
    site.deliver()
    site.chain.requests = 0
    site.chain.accept()
    assert site.deliver() == ["+41"]
    assert site.chain.requests == 2


def test_it_observes_when_nobody_has(site: Site) -> None:
    site.chain.accept()
    site.follower.deliver(site.log)
    site.chain.requests = 0
    site.follower.deliver(site.log)
    assert site.chain.requests == 1


def test_a_long_absence_is_made_up_in_batches(site: Site) -> None:
    site.chain.accept(1_000)
    site.chain.final = 990
    assert site.deliver(at_most=1) == ["+1"]
    assert site.chain.requests <= 260
    assert site.deliver() == [f"+{number}" for number in range(2, 1_001)]
    assert site.chain.requests <= 1_530


def test_it_reports_at_most_as_many_changes_as_wanted(site: Site) -> None:
    site.chain.accept(3)
    assert [site.deliver(at_most=2), site.deliver(at_most=2)] == [["+1", "+2"], ["+3"]]
    site.chain.revoke_from(1)
    assert [site.deliver(at_most=1) for _ in range(4)] == [["-3"], ["-2"], ["-1"], []]


def test_the_cursor_stays_small(site: Site) -> None:
    sizes = []
    for _ in range(8):
        site.chain.accept(50)
        site.chain.final += 50
        site.deliver()
        sizes.append(site.path.stat().st_size)
    assert sizes[-1] < 1.05 * sizes[2] < 20_000
    site.restart()
    assert site.deliver() == []


def test_the_cursor_has_a_largest_size_even_if_nothing_becomes_final(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_KEPT", 10)
    site.chain.accept(40)
    site.deliver()
    assert len(json.loads(site.path.read_text().splitlines()[0])["models"]) == 10


def test_the_largest_cursor_can_be_read(tmp_path: Path) -> None:
    model = ModelView(2**32 - 1, 2**32 - 1, b"\xff" * 32, SOME_CID)
    full = cursors.Cursor(2**63, Chain.address, None, [model] * history._KEPT)
    cursors.save_cursor(tmp_path / "cursor", full)
    assert cursors.load_cursor(tmp_path / "cursor", dataclasses.replace(full, models=[])) == full


# A history that changes while it is read, and nodes that are behind


def test_a_history_that_changes_while_it_is_read_is_read_again(site: Site) -> None:
    site.chain.accept(1)
    site.deliver()
    site.chain.accept(3)
    seen_before = site.chain.look()
    site.chain.revoke_from(3)
    site.chain.accept()
    assert site.follower.deliver(site.log, seen_before) == 0
    site.chain.accept()
    assert site.deliver() == ["+2", "+5", "+6"]


def test_a_history_that_becomes_shorter_while_it_is_read_is_read_again(site: Site) -> None:
    site.chain.accept(3)
    seen_before = site.chain.look()
    site.chain.revoke_from(2)
    assert site.follower.deliver(site.log, seen_before) == 0
    assert site.deliver() == ["+1"]


def test_another_refusal_of_the_contract_is_not_hidden(site: Site) -> None:
    def refuse() -> None:
        raise ContractReverted(ContractError.NotRegistered)

    site.chain.accept()
    site.chain.before_model = refuse
    with pytest.raises(ContractReverted):
        site.deliver()


def test_a_node_that_is_behind_revokes_nothing(site: Site) -> None:
    site.chain.accept(2)
    behind = dataclasses.replace(site.chain.look(), head=site.chain.history[1], block_number=102)
    site.deliver()
    assert site.follower.deliver(site.log, behind) == 0
    site.restart()
    assert site.follower.deliver(site.log, behind) == 0
    assert site.log.rounds == ["+1", "+2"]


def test_a_chain_that_was_set_back_far_is_followed(site: Site) -> None:
    site.chain.accept(9)
    site.deliver()
    site.chain.block = 60
    site.chain.revoke_from(2)
    assert site.deliver() == [f"-{number}" for number in range(9, 1, -1)]


def test_a_cut_deeper_than_it_remembers_is_an_alert(site: Site) -> None:
    site.chain.accept(200)
    site.chain.final = 200
    site.deliver()
    site.chain.revoke_from(100)
    with structlog.testing.capture_logs() as logs:
        assert site.deliver() == [f"-{number}" for number in range(200, 135, -1)]
    assert [log["height"] for log in logs if log["log_level"] == "error"] == [136]
    site.chain.accept(2)
    assert site.deliver() == ["+201", "+202"]


# Hooks that fail, processes that are killed, files that are damaged


class Fragile(Log):
    """Fails before it has noted a round, or is killed after that."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.dies = False

    @contextmanager
    def _noting(self) -> Iterator[None]:
        if self.fails:
            raise OSError("no space left")
        yield
        if self.dies:
            raise Killed

    def on_accepted(self, model: ModelView) -> None:
        with self._noting():
            super().on_accepted(model)

    def on_revoked(self, model: ModelView) -> None:
        with self._noting():
            super().on_revoked(model)


def test_a_round_that_a_hook_failed_on_is_reported_again(site: Site) -> None:
    site.log = hook = Fragile()
    site.chain.accept(2)
    hook.fails = True
    for _ in range(2):
        with pytest.raises(OSError, match="no space left"):
            site.deliver()
        site.restart()
    hook.fails = False
    assert site.deliver() == ["+1", "+2"]


def test_a_round_that_was_revoked_since_a_hook_failed_on_it_is_offered_first(site: Site) -> None:
    site.log = hook = Fragile()
    site.chain.accept()
    hook.fails = True
    with pytest.raises(OSError, match="no space left"):
        site.deliver()
    hook.fails = False
    site.chain.revoke_from(1)
    site.chain.accept()
    assert site.deliver() == ["+1", "-1", "+2"]


def test_what_was_reported_when_the_process_was_killed_comes_once_more_and_first(
    site: Site,
) -> None:
    site.log = hook = Fragile()
    site.chain.accept()
    hook.dies = True
    with pytest.raises(Killed):
        site.deliver()
    hook.dies = False
    site.chain.revoke_from(1)
    site.chain.accept()
    site.restart()
    hook.models.clear()
    assert site.deliver() == ["+1", "-1", "+2"]


def altered(text: str) -> str:
    return text.replace('"begin": 1', '"begin": 2')


def of_version_2(text: str) -> str:
    body = text.split("\n")[0].replace('"version": 1', '"version": 2')
    return f"{body}\n{cursors._checksum(body)}\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda _text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text + "x",
        lambda _text: "\x00" * 100,
        lambda _text: "[]\n" + cursors._checksum("[]") + "\n",
        lambda text: text + " " * (4 << 20),
        lambda text: text.replace(":", "é"),
        altered,
        of_version_2,
    ],
    ids=["empty", "half", "longer", "zeros", "list", "huge", "letters", "altered", "version"],
)
def test_a_damaged_cursor_is_an_alert_and_the_history_is_reported_anew(
    site: Site, damage: Callable[[str], str]
) -> None:
    site.chain.accept(2)
    site.deliver()
    site.path.write_text(damage(site.path.read_text()), encoding="utf-8")
    with structlog.testing.capture_logs() as logs:
        site.restart()
    (alert,) = logs
    assert alert["log_level"] == "error"
    assert alert["reason"] == "it is damaged"
    site.log.models.clear()
    assert site.deliver() == ["+1", "+2"]
    site.restart()
    assert site.deliver() == []


def test_a_cursor_that_is_no_file_is_an_alert(site: Site) -> None:
    site.path.mkdir(parents=True)
    with structlog.testing.capture_logs() as logs:
        site.restart()
    assert "cannot be read" in logs[0]["reason"]


def test_the_cursor_of_another_federation_is_an_alert(site: Site) -> None:
    site.chain.accept(2)
    site.deliver()
    site.chain.address = "0x" + "cd" * 20
    with structlog.testing.capture_logs() as logs:
        site.restart()
    assert "0xabab" in logs[0]["reason"]
    site.log.models.clear()
    assert site.deliver() == ["+1", "+2"]


# Any sequence of all of it


class AnyHistory(RuleBasedStateMachine):
    """Rounds are accepted and revoked while the process looks, rests, fails, restarts and dies."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.site = Site(self.directory)
        self.site.log = self.hook = Fragile()
        self.expected: list[str] = []
        self.reported: list[ModelView] = []

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @rule(count=st.sampled_from([1, 1, 2, 5]))
    def accept(self, count: int) -> None:
        self.site.chain.accept(count)

    @precondition(lambda self: len(self.site.chain.history) > self.site.chain.final + 1)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        chain = self.site.chain
        heights = st.integers(chain.final + 1, len(chain.history) - 1)
        chain.revoke_from(data.draw(heights))

    @precondition(lambda self: len(self.site.chain.history) > self.site.chain.final + 1)
    @rule()
    def finalize(self) -> None:
        self.site.chain.final += 1

    @rule(at_most=st.sampled_from([None, 1, 3]))
    def look(self, at_most: int | None) -> None:
        """What is to come follows from what was reported and what the history is now."""
        self._expect(at_most)
        self.site.deliver(at_most=at_most)

    @rule()
    def restart(self) -> None:
        self.site.restart()

    @rule(restarts=st.booleans())
    def fail(self, restarts: bool) -> None:
        """The hook fails at whatever comes first: it was not reported, and is offered again."""
        self.hook.fails = True
        try:
            self.site.deliver()
        except OSError:
            self._offered = True
        finally:
            self.hook.fails = False
        if restarts:
            self.site.restart()
        # Offered once, it comes first whatever the chain does meanwhile: conclude it at once.
        self.look(1)

    @rule()
    def die(self) -> None:
        """Killed after the hook did its work: this one change comes once more, and first."""
        self.hook.dies = True
        try:
            self.site.deliver()
        except Killed:
            last = self.hook.rounds.pop()
            if last[0] == "+":
                self.hook.models.pop()
            else:
                self.hook.models.append(self.reported[-1])
            self.hook.dies = False
            self.site.restart()
            self.look(1)
        finally:
            self.hook.dies = False

    def _expect(self, at_most: int | None) -> None:
        history, todo = self.site.chain.history[1:], at_most if at_most is not None else 10**9
        while todo and self.reported != history:
            if self.reported != history[: len(self.reported)]:
                self.expected.append(f"-{self.reported.pop().round}")
            else:
                model = history[len(self.reported)]
                self.reported.append(model)
                self.expected.append(f"+{model.round}")
            todo -= 1

    @invariant()
    def everything_is_reported_once_and_in_order(self) -> None:
        assert self.hook.rounds == self.expected
        assert self.hook.models == self.reported


TestAnyHistory = AnyHistory.TestCase


def test_a_cursor_that_cannot_be_written_is_an_error_before_anything_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cursors, "write_whole", full)
    site.chain.accept()
    with pytest.raises(OSError, match="No space"):
        site.deliver()
    assert site.log.rounds == []
    monkeypatch.setattr(cursors, "write_whole", write_whole)
    assert site.deliver() == ["+1"]
