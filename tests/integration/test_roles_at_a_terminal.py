"""At a terminal a role shows its view and no log; in a pipe it logs as before."""

import signal

from integration.anvil_site import Site
from support.flo import finish, start_flo
from support.terminal import Terminal


def test_a_watcher_shows_the_round_at_a_terminal_and_nothing_of_it_stays(open_site: Site) -> None:
    options = ["watcher", "run", *map(str, open_site.working("watcher"))]
    terminal = Terminal(options, {"COLUMNS": "100"}, 60)
    terminal.wait_for("watcher of", "Round 1: the commit phase ends in", "● commit", "Duty:")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 0
    # The view is erased: what stays is the outcome.
    assert "Models computed again: 0" in terminal.shown.rpartition("Duty:")[2]
    assert "Traceback" not in terminal.shown


def test_in_a_pipe_there_is_no_view(open_site: Site) -> None:
    done = finish(start_flo("watcher", "run", *open_site.working("watcher"), "--once")).succeeded()
    assert "Duty:" not in done.out + done.err
