"""The directory of a federation on one machine, and the processes in it."""

from __future__ import annotations

import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.service.local.children import Child, ChildFailed, stop_all
from fl_orchestrator.service.local.federation import LocalFederation, OtherPlan, Plan
from fl_orchestrator.service.local.programs import ProgramMissing, find_program
from fl_orchestrator.service.local.supervisor import Supervisor

PLAN = Plan(parties=2, aggregators=1, watchers=1, seed=3)
IMPATIENT = 10.0


def secret_of(name: str) -> bytes:
    return name.encode().rjust(32, b"\1")


def test_everybody_has_a_key_that_a_second_start_finds_again(tmp_path: Path) -> None:
    first = LocalFederation(tmp_path / "new" / "up", PLAN)
    again = LocalFederation(tmp_path / "new" / "up", PLAN)
    names = [member.name for member in first.members()]
    assert names == ["watcher-0", "aggregator-0", "party-0", "party-1", "keeper-0"]
    addresses = [member.address for member in (first.owner, *first.members())]
    assert len(set(addresses)) == 6
    assert [member.address for member in (again.owner, *again.members())] == addresses
    assert stat.S_IMODE((first.directory / "password").stat().st_mode) == 0o600


def test_keys_may_be_given(tmp_path: Path) -> None:
    local = LocalFederation(tmp_path / "up", PLAN, secret_of)
    assert local.parties[1].address == LocalSigner.from_secret(secret_of("party 1")).address


@pytest.mark.parametrize(
    "other",
    [
        Plan(3, 1, 1, 3),
        Plan(2, 2, 1, 3),
        Plan(2, 1, 0, 3),
        Plan(2, 1, 1, 4),
        Plan(2, 1, 1, 3, private=True),
    ],
)
def test_a_directory_of_another_plan_is_refused(tmp_path: Path, other: Plan) -> None:
    LocalFederation(tmp_path / "up", PLAN)
    named = "2 parties, 1 aggregators, 1 watchers and seed 3, not private"
    with pytest.raises(OtherPlan, match=named):
        LocalFederation(tmp_path / "up", other)


def test_a_set_up_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    directory = LocalFederation(tmp_path / "up", PLAN, secret_of).directory
    (directory / ".password.new").write_text("half a pass")
    (directory / "party-1" / "key.json").unlink()
    local = LocalFederation(directory, PLAN, secret_of)
    assert local.parties[1].address == LocalSigner.from_secret(secret_of("party 1")).address


def python(name: str, directory: Path, code: str) -> Child:
    return Child(name, [sys.executable, "-c", code], directory)


def until_ended(child: Child) -> None:
    deadline = time.monotonic() + IMPATIENT
    while child.runs:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_ends_with_an_error_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_orchestrator.service.local.supervisor._RESTART_SECONDS", 0.0)
    done = python("done", tmp_path, "pass")
    killed = python("killed", tmp_path, "import time; time.sleep(600)")
    supervisor = Supervisor([done, killed])
    supervisor.start()
    until_ended(done)
    killed.kill()
    supervisor.watch()
    assert killed.runs
    assert (done.starts, killed.starts) == (1, 2)
    supervisor.stop()
    assert not killed.runs


def test_what_does_not_stay_alive_is_reported_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_orchestrator.service.local.supervisor._RESTART_SECONDS", 0.0)
    monkeypatch.setattr("fl_orchestrator.service.local.supervisor._MAX_RESTARTS", 1)
    child = python("dies", tmp_path, "import sys; sys.exit('no such key')")
    supervisor = Supervisor([child])
    supervisor.start()
    until_ended(child)
    supervisor.watch()
    until_ended(child)
    with pytest.raises(ChildFailed, match="dies ended 2 times, with exit code 1:\nno such key"):
        supervisor.watch()


def test_what_does_not_end_when_it_is_asked_to_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, lambda *_: None); print('up', flush=True)\n"
    child = python("deaf", tmp_path, code + "while True: time.sleep(1)")
    child.start()
    child.wait_for(lambda log: log if "up" in log else None, IMPATIENT)
    child.signal(signal.SIGTERM)
    child.wait(0.2)
    assert child.exit_code == -signal.SIGKILL
    stop_all([child])


def test_what_does_not_start_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="cannot be started"):
        Child("missing", ["/nowhere/program"], tmp_path).start()
    silent = python("silent", tmp_path, "import time; time.sleep(600)")
    silent.start()
    with pytest.raises(ChildFailed, match="silent did not start"):
        silent.wait_for(lambda _log: None, 0.2)
    assert not silent.runs


def test_a_program_is_looked_for_where_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("anvil") is None
    program = tmp_path / "node_modules" / ".bin" / "anvil"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert find_program("anvil") == program
    with pytest.raises(ProgramMissing, match="/nowhere/anvil"):
        find_program("anvil", Path("/nowhere/anvil"))
