"""A local federation's settings, data and trainers: what a person changed in them stays."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import structlog

from fl_orchestrator.files import write_whole
from fl_orchestrator.service.local import sites
from fl_orchestrator.service.local.sites import write_site

SECTION = '\n[party]\ntrainer = "trainer.py:make_trainer"\nseed = 0\n'
TRAINER = b"def make_trainer(): ...\n"


def start(directory: Path, port: int, data: bytes = b"rows") -> dict[str, Any]:
    """Write the site as a start does that found this port; the settings that are there then."""
    settings = {"rpc": f"http://127.0.0.1:{port}", "chain-id": 31337, "home": "home"}
    write_site(directory, settings, SECTION, {"trainer.py": TRAINER, "data.npz": data})
    return tomllib.loads((directory / "flo.toml").read_text())


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_second_start_brings_what_nobody_changed_up_to_date(tmp_path: Path) -> None:
    first = start(tmp_path, 1)
    assert first["rpc"] == "http://127.0.0.1:1"
    assert first["party"]["seed"] == 0
    before = (tmp_path / "flo.toml").read_text()
    assert start(tmp_path, 2) == {**first, "rpc": "http://127.0.0.1:2"}
    start(tmp_path, 1)
    assert (tmp_path / "flo.toml").read_text() == before


def test_edited_settings_stay_and_the_port_is_brought_up_to_date(tmp_path: Path) -> None:
    start(tmp_path, 1)
    edit(tmp_path / "flo.toml", "seed = 0", 'seed = 7\nalert-below = "accuracy=0.7"  # ours')
    edit(tmp_path / "flo.toml", 'home = "home"', '# moved\nhome = "elsewhere"\nconfirmations = 2')
    for port in (2, 3):
        found = start(tmp_path, port)
        assert found["rpc"] == f"http://127.0.0.1:{port}"
        assert (found["home"], found["confirmations"]) == ("elsewhere", 2)
        assert found["party"]["seed"] == 7
        assert found["party"]["alert-below"] == "accuracy=0.7"
    text = (tmp_path / "flo.toml").read_text()
    assert "# moved" in text
    assert "# ours" in text


def test_an_address_that_was_edited_stays(tmp_path: Path) -> None:
    start(tmp_path, 1)
    edit(tmp_path / "flo.toml", "127.0.0.1:1", "proxy.example:80")
    for port in (2, 3):
        assert start(tmp_path, port)["rpc"] == "http://proxy.example:80"


def test_an_edited_trainer_and_edited_data_stay_and_others_are_replaced(tmp_path: Path) -> None:
    start(tmp_path, 1)
    edit(tmp_path / "trainer.py", "...", "return Mine()")
    start(tmp_path, 2, b"dealt anew")
    assert (tmp_path / "data.npz").read_bytes() == b"dealt anew"
    (tmp_path / "data.npz").write_bytes(b"my own rows")
    start(tmp_path, 3)
    assert (tmp_path / "data.npz").read_bytes() == b"my own rows"
    assert "Mine" in (tmp_path / "trainer.py").read_text()


def test_a_deleted_file_is_written_again(tmp_path: Path) -> None:
    start(tmp_path, 1)
    edit(tmp_path / "flo.toml", "seed = 0", "seed = 7")
    for name in ("flo.toml", "trainer.py", "data.npz"):
        (tmp_path / name).unlink()
    assert start(tmp_path, 2)["party"]["seed"] == 0
    assert (tmp_path / "trainer.py").read_bytes() == TRAINER


def test_settings_of_which_nothing_is_recorded_are_moved_aside_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "flo.toml").write_text('rpc = "http://old"\n')
    with structlog.testing.capture_logs() as logs:
        assert start(tmp_path, 1)["rpc"] == "http://127.0.0.1:1"
    assert (tmp_path / "flo.toml.old").read_text() == 'rpc = "http://old"\n'
    assert [log["kept_in"] for log in logs] == [str(tmp_path / "flo.toml.old")]
    with structlog.testing.capture_logs() as logs:
        start(tmp_path, 2)
    assert logs == []


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_a_start_that_is_killed_half_way_takes_nothing_for_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    start(tmp_path, 1)
    write, writes = write_whole, 0

    def killed(path: Path, text: str) -> None:
        nonlocal writes
        if writes == survived:
            raise KeyboardInterrupt
        writes += 1
        write(path, text)

    monkeypatch.setattr(sites, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, 2, b"dealt anew")
    monkeypatch.setattr(sites, "write_whole", write)
    assert start(tmp_path, 3, b"dealt again")["rpc"] == "http://127.0.0.1:3"
    assert (tmp_path / "data.npz").read_bytes() == b"dealt again"
