"""A report says what the chain says, what was recomputed, and what it does not show."""

from __future__ import annotations

import hashlib
import html.parser
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from support.disputes import LyingAggregator, off_by_one
from support.federation import Build, SmallFederation, small_manifest
from support.fixtures import build
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.audit.federation import Federation
from fl_orchestrator.dashboard.report.gather import Report, gather
from fl_orchestrator.dashboard.report.page import Place, render

__all__ = ["build"]

HOSTILE = "<script>alert(1)</script>"


def reported(world: SmallFederation, *, store: bool = True) -> Report:
    block = world.deployment.block
    auditor = Federation(world.federation, world.store, block) if store else None
    index = world.directory / "report.sqlite"
    return gather(world.federation, index, block, auditor)


def page(report: Report) -> str:
    return render(report, Place("http://127.0.0.1:8545", "file:///srv/flo"))


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_lineage_goes_from_genesis_to_the_head_and_every_model_is_equal(build: Build) -> None:
    world = build(parties=3, aggregators=2)
    for number in (1, 2):
        world.run_round(world.everybody(), number)
    report = reported(world)
    models = [world.federation.model(height) for height in range(3)]
    assert [one["root"] for one in report.lineage] == ["0x" + m.root.hex() for m in models]
    assert [one["base"] for one in report.lineage] == [None, *(m["root"] for m in report.lineage)][
        :3
    ]
    assert [one.get("recomputed") for one in report.lineage] == [None, "equal", "equal"]
    made = report.lineage[1]
    assert {one["party"] for one in made["updates"]} == {key.address for key in world.parties}
    assert all(one["included"] and one["cid"].startswith("ba") for one in made["updates"])
    assert {one["aggregator"] for one in made["signers"]} == {k.address for k in world.aggregators}
    assert report.counts == {"accepted": 2}
    assert report.disputes == []
    text = page(report)
    assert "All 2 models were computed again" in text
    assert "No dispute in 2 rounds." in text
    assert models[2].root.hex() in text


def test_the_digest_is_of_what_the_chain_says_alone(build: Build) -> None:
    world = build(parties=3)
    world.run_round(world.everybody())
    with_store, without = reported(world), reported(world, store=False)
    assert with_store.lineage_digest == without.lineage_digest
    lineage = [
        {k: v for k, v in one.items() if k not in ("recomputed", "reason")}
        for one in without.to_json()["lineage"]
    ]
    assert hashlib.sha256(rfc8785.dumps(lineage)).hexdigest() == without.lineage_digest
    assert [one["recomputed"] for one in without.lineage[1:]] == ["not checked"]
    assert "1 could not be checked" in page(without)


def test_a_wrong_model_is_named_with_its_first_wrong_coordinate(build: Build) -> None:
    world = build(parties=3)
    liar = LyingAggregator(world.context(world.aggregators[0], world.home("aggregators", 0)))
    liar.lie = off_by_one()
    world.run_round([*(world.party(i) for i in range(3)), liar])
    report = reported(world)
    assert report.lineage[1]["recomputed"] == "wrong"
    assert "first wrong coordinate" in report.lineage[1]["reason"]
    text = page(report)
    assert "Not what the protocol says: the model of round 1 is wrong." in text
    assert "first wrong coordinate" in text


def test_an_update_that_cannot_be_had_is_said_and_the_rest_is_checked(build: Build) -> None:
    world = build(parties=3)
    for number in (1, 2):
        world.run_round(world.everybody(), number)
    gone = reported(world, store=False).lineage[1]["updates"][0]["cid"]
    for path in (world.directory / "store").rglob(f"*{gone}*"):
        path.unlink()
    report = reported(world)
    assert [one["recomputed"] for one in report.lineage[1:]] == ["not checked", "equal"]
    assert gone in report.lineage[1]["reason"]


def test_before_the_first_round_there_is_genesis_only(build: Build) -> None:
    report = reported(build(parties=3))
    assert [one["height"] for one in report.lineage] == [0]
    assert report.rounds == []
    assert "the only model is genesis" in page(report)


def test_a_private_federation_says_so(tmp_path: Path) -> None:
    world = SmallPrivateFederation(tmp_path)
    world.run_round(
        [
            *(world.party(i) for i in range(len(world.parties))),
            *(world.private_aggregator(i) for i in range(len(world.aggregators))),
        ]
    )
    report = reported(world)
    assert report.terms["private"]
    assert [one["recomputed"] for one in report.lineage[1:]] == ["equal"]
    assert all(update["included"] for update in report.lineage[1]["updates"])
    assert "Private: everybody can read" in page(report)


def test_the_page_runs_no_script_loads_nothing_and_shows_hostile_names_as_text(
    build: Build,
) -> None:
    world = build(parties=3, manifest=small_manifest(name=HOSTILE, purpose=HOSTILE))
    world.run_round(world.everybody())
    text = page(reported(world))
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    tags = Tags(text).tags
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not {"src", "href", "onload", "onclick"} & attributes.keys()
    assert "url(" not in text
    assert re.search(r"default-src &#39;none&#39;|default-src 'none'", text)


def test_the_report_of_a_copied_directory_is_the_same(build: Build, tmp_path: Path) -> None:
    world = build(parties=3)
    world.run_round(world.everybody())
    first = reported(world)
    (world.directory / "report.sqlite").unlink()
    shutil.rmtree(world.directory / "report.sqlite.lock", ignore_errors=True)
    assert reported(world).to_json() == first.to_json()


@pytest.mark.parametrize("values", [[], [(1, 3)]])
def test_a_curve_needs_two_rounds(values: list[tuple[int, int]]) -> None:
    from fl_orchestrator.dashboard.report.curve import curve

    assert curve("x", values) is None
