"""`flo up --private`: real processes of a private federation, stopped and started again."""

from __future__ import annotations

from pathlib import Path

from support.flo import finish, flo, start_flo

SIZE = ("--parties", "3", "--aggregators", "4", "--watchers", "1", "--store", "file")
SECONDS = 300


def test_processes_of_a_private_federation_go_on_where_they_were_stopped(
    tmp_path: Path, checkout: Path
) -> None:
    directory = tmp_path / "up"
    anvil = checkout / "node_modules/.bin/anvil"
    options = ("up", "--private", "--anvil", anvil, "--directory", directory, *SIZE)
    first, second = (
        finish(start_flo(*options, "--rounds", "1", "--json"), timeout=SECONDS).succeeded().json
        for _ in range(2)
    )
    assert first["federation"] == second["federation"]
    assert [entry["round"] for run in (first, second) for entry in run["rounds"]] == [1, 2]
    assert [entry["updates"] for run in (first, second) for entry in run["rounds"]] == [3, 3]
    assert second["rounds"][0]["accuracy"] > 0.9
    # Both rounds' updates were stored, and none in the clear.
    files = [path.read_bytes() for path in (directory / "store").rglob("*") if path.is_file()]
    kinds = {k: sum(f'"kind":"{k}"'.encode() in f for f in files) for k in ("update", "masked")}
    assert kinds["update"] == 0
    assert kinds["masked"] >= 3
    for log in directory.glob("*/*.log"):
        assert "Traceback" not in log.read_text()
    plain = [option for option in options if option != "--private"]
    flo(*plain).refused(2, "seed 0, private", "Give these options")


def test_seats_that_read_alone_are_refused(tmp_path: Path, checkout: Path) -> None:
    anvil = checkout / "node_modules/.bin/anvil"
    options = ("up", "--private", "--anvil", anvil, "--directory", tmp_path / "up", "--store")
    flo(*options, "file", "--aggregators", "1").refused(2, "could read every update alone")
    flo(*options, "file", "--aggregators", "11").refused(2, "1 to 10 aggregators, not 11")
    flo(*options, "file", "--parties", "2").refused(2, "at least 3 parties")
    assert not (tmp_path / "up").exists()
