"""`flo party history`: a table, a plot in the terminal, a picture, JSON."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from support.flo import flo

from fl_orchestrator.cli.roles.history import plotted
from fl_orchestrator.cli.site import Account
from fl_orchestrator.roles.party.measurements import Measurements

PARTY = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
HISTORY = ("party", "history", PARTY)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measurements:
    """The measurements of a party whose chain needs no connection."""
    monkeypatch.setattr(Account, "open_federation", lambda self: None)
    monkeypatch.setattr(Account, "role_home", lambda self, chain, address: tmp_path / "home")
    return Measurements(tmp_path / "home")


@pytest.fixture
def three(kept: Measurements) -> Measurements:
    kept.evaluated(0, {"loss": 0.7, "auc": 0.5}, ())
    kept.trained(1, {"loss": 0.6}, 1200)
    kept.evaluated(1, {"loss": 0.4, "auc": 0.8}, ())
    kept.evaluated(2, {"loss": math.nan, "auc": 0.3}, ("auc is 0.3, below 0.7",))
    return kept


def test_a_table_and_a_plot_show_the_rounds(three: Measurements) -> None:
    shown = flo(*HISTORY).succeeded().out
    rows = [line.split() for line in shown.splitlines() if line.startswith("│")]
    assert rows[0] == ["│", "0", "│", "│", "│", "0.7", "│", "│", "0.5", "│", "│"]
    assert rows[1] == ["│", "1", "│", "1,200", "│", "0.6", "│", "0.4", "│", "│", "0.8", "│", "│"]
    assert rows[2] == ["│", "2", "│", "│", "│", "nan", "│", "│", "0.3", "│", "refused", "│"]
    assert "loss, global model" in shown
    assert "round 0" in shown
    assert "round 0 2" in flo(*HISTORY, "--metric", "auc").succeeded().out
    newest = flo(*HISTORY, "--last", 1).succeeded().out
    assert len([line for line in newest.splitlines() if line.startswith("│")]) == 1


def test_without_a_refused_or_revoked_model_there_is_no_column_for_it(kept: Measurements) -> None:
    kept.trained(1, {"loss": 0.6}, 1200)
    shown = flo(*HISTORY).succeeded().out
    assert "│     1 │ 1,200 │            0.6 │                    │\n" in shown


def test_json_has_everything_and_a_number_that_is_none_is_null(three: Measurements) -> None:
    found = flo(*HISTORY, "--json").succeeded().json
    assert found["address"] == PARTY
    assert [entry["round"] for entry in found["rounds"]] == [0, 1, 2]
    assert found["rounds"][1]["training"] == {"loss": 0.6}
    assert found["rounds"][2]["global_model"]["loss"] is None
    assert found["rounds"][2]["refused"] == ["auc is 0.3, below 0.7"]


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_has_all_metrics(
    kept: Measurements, tmp_path: Path, suffix: str, begins: bytes
) -> None:
    for number in range(3):
        kept.trained(number, {"loss": 1 / (number + 1), "$x^$": number}, 20)
    file = tmp_path / f"history{suffix}"
    assert str(file) in flo(*HISTORY, "--plot", file).succeeded().out
    assert file.read_bytes().startswith(begins)


def test_what_cannot_be_shown_is_a_sentence(
    kept: Measurements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flo(*HISTORY).refused(2, "Nothing was measured here", "flo party run")
    assert flo(*HISTORY, "--json").succeeded().json["rounds"] == []
    kept.evaluated(1, {"loss": 0.4, "au\x1bc": 0.8}, ())
    flo(*HISTORY, "--metric", "f1").refused(2, "no values of 'f1'", "loss", r"au\x1bc")
    assert "\x1b" not in flo(*HISTORY).succeeded().out
    flo(*HISTORY, "--plot", tmp_path / "history.pdf").refused(2, ".png or .svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    flo(*HISTORY, "--plot", tmp_path / "history.png").refused(7, "matplotlib", "pip install")


def test_a_plot_goes_from_the_smallest_value_to_the_largest() -> None:
    lines = plotted([0.0, 0.5, 1.0])
    assert lines[0] == "         1    █"
    assert lines[3] == "             ▁█"
    assert lines[-1] == "         0  ▁██"
    assert len(plotted([2.0])) == len(plotted([float(n) for n in range(500)]))
