"""`flo round`: show the outcome of a federation's rounds."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.audit.opening import (
    opening_json,
    opening_pairs,
    opening_tables,
    read_opening,
)
from fl_orchestrator.cli.console import (
    JsonOption,
    err,
    ether,
    out,
    print_json,
    print_pairs,
    safe,
    say,
    short,
)
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.site import Endpoint, Reader, deployed_at, with_options
from fl_orchestrator.errors import ContentError, VerificationError
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.contract.rounds import ResultRecord, RoundRecord
    from fl_orchestrator.chain.event_types import Answered, Demanded, RevealedUpdate, Slashed

app = Noun("Show rounds and their outcomes.")


@app.command("list")
@with_options
def list_rounds(
    site: Endpoint,
    last: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many of the last rounds.")
    ] = 20,
    json_output: JsonOption = False,
) -> None:
    """List the last rounds: the outcome, updates, signers and model of each.

    Example: flo round list --last 100
    """
    from fl_orchestrator.chain.contract.rounds import read_rounds

    chain = site.open_federation(any_version=True)
    newest = chain.observe(chain.address).current.round
    first = max(1, newest - last + 1)
    block = deployed_at(chain, site.deployments)
    rounds = read_rounds(chain, block, first, newest) if newest else []
    if json_output:
        print_json({"federation": chain.address, "rounds": [_summary(r) for r in rounds]})
    elif rounds:
        _print_table([_HEADS, *map(_line, rounds)])
    else:
        say("No round has been opened yet.")


@app.command()
@with_options
def show(
    site: Reader,
    number: Annotated[int | None, typer.Argument(help="The round. Default: the last.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show a round: who committed, which updates counted, who signed which result, its disputes.

    Of a private round also: who claimed to hold which updates, what was locked and opened, where
    the pieces are that were announced on the chain, and whose update was expelled.

    With a --store that has the round's model, it also looks for tensors with values at the end of
    their range, which training cannot move further.

    Example: flo round show 12
    """
    from fl_orchestrator.chain.contract.rounds import read_rounds

    chain = site.open_federation(any_version=True)
    if number is None:
        number = chain.observe(chain.address).current.round
    block = deployed_at(chain, site.deployments)
    (record,) = read_rounds(chain, block, number, number)
    opening = read_opening(chain, block, record)
    slashes = chain.slashes(block, round_number=number)
    saturated = _saturated(site, chain, record)
    if json_output:
        details = _details(record, slashes)
        details |= opening_json(record, opening)
        print_json({"federation": chain.address, **details, "saturated": saturated})
        return
    print_pairs([*_pairs(record), *opening_pairs(record, opening)])
    if saturated:
        print_pairs([("saturated", f"{', '.join(saturated)}: values at the end of their range")])
    for title, rows in (*_tables(record, slashes), *opening_tables(record, opening)):
        if len(rows) > 1:
            out.print(f"\n{title}")
            _print_table(rows)


def _saturated(site: Reader, chain: Federation, record: RoundRecord) -> list[str] | None:
    """The saturated tensors of a round's model; None where it cannot be had."""
    accepted = record.accepted_result
    if not site.store or accepted is None:
        return None
    from fl_orchestrator.roles.manifests import manifest_of
    from fl_orchestrator.roles.vectors import Origin, VectorCache

    result, content = accepted.result, site.open_store()
    meta = Origin(chain.chain_id, chain.address).state(record.number)
    with tempfile.TemporaryDirectory(prefix="flo-round-") as directory:
        try:
            cache = VectorCache(Path(directory), manifest_of(content, chain))
            file = cache.fetch(content, result.global_cid, result.global_root, meta)
        except (ContentError, VerificationError) as error:
            err.print(f"[yellow]The model was not looked into:[/] {safe(error)}", soft_wrap=True)
            return None
        return list(cache.saturated_tensors(file))


# ---------------------------------------------------------------------- a line of the list

_HEADS = ("round", "outcome", "opened", "parties", "counted", "included", "signers", "model")


def _line(record: RoundRecord) -> tuple[str, ...]:
    accepted = record.accepted_result
    return (
        str(record.number),
        record.outcome,
        _date(record.opened_at),
        str(len(record.parties)),
        str(len(record.updates)),
        str(len(record.included)) if accepted else "",
        str(len(accepted.signers)) if accepted else "",
        short("0x" + accepted.result.global_root.hex()) if accepted else "",
    )


def _summary(record: RoundRecord) -> dict[str, Any]:
    accepted = record.accepted_result
    return {
        "round": record.number,
        "outcome": record.outcome,
        "opened_at": record.opened_at or None,
        "accepted_at": record.accepted_at or None,
        "height": record.accepted.height if record.accepted else None,
        "base": record.opened.base if record.opened else None,
        "committed": len(record.parties),
        "counted": len(record.updates),
        "duplicates": len(record.duplicates),
        "included": len(record.included) if accepted else None,
        "signers": list(accepted.signers) if accepted else [],
        "root": "0x" + accepted.result.global_root.hex() if accepted else None,
        "cid": str(accepted.result.global_cid) if accepted else None,
    }


# ---------------------------------------------------------------------- all of a round


def _details(record: RoundRecord, slashes: list[Slashed]) -> dict[str, Any]:
    answers = {answer.id: answer for answer in record.answers}
    return {
        **_summary(record),
        "parties": list(record.parties),
        "updates": [
            {
                "index": update.index,
                "party": update.party,
                "weight": update.weight,
                "included": update.index in record.included,
                "root": "0x" + update.root.hex(),
                "cid": str(update.cid),
            }
            for update in record.updates
        ],
        "duplicates": [
            {"party": copy.party, "root": "0x" + copy.root.hex()} for copy in record.duplicates
        ],
        "results": [_result_json(record, result) for result in record.results],
        "demands": [_demand_json(demand, answers.get(demand.id)) for demand in record.demands],
        "slashes": [
            {
                "account": slash.account,
                "role": slash.role.name.lower(),
                "amount_wei": slash.amount,
                "burnt_wei": slash.burnt,
            }
            for slash in slashes
        ],
    }


def _result_json(record: RoundRecord, signed: ResultRecord) -> dict[str, Any]:
    from fl_orchestrator.chain.types import included_indices

    return {
        "digest": "0x" + signed.digest.hex(),
        "accepted": signed is record.accepted_result,
        "included": included_indices(signed.result.included),
        "root": "0x" + signed.result.global_root.hex(),
        "cid": str(signed.result.global_cid),
        "signers": list(signed.signers),
        "proven_wrong_by": signed.fraud.challenger if signed.fraud else None,
    }


def _demand_json(demand: Demanded, answer: Answered | None) -> dict[str, Any]:
    return {
        "id": demand.id,
        "level": demand.level,
        "index": demand.index,
        "demander": demand.demander,
        "bond_wei": demand.bond,
        "deadline": demand.deadline,
        "answerer": answer.answerer if answer else None,
    }


def _pairs(record: RoundRecord) -> Iterator[tuple[str, str]]:
    yield "round", str(record.number)
    yield "outcome", record.outcome
    if record.opened:
        base = record.opened.base
        yield "opened", _date(record.opened_at)
        yield "starts from", f"the model of round {base}" if base else "genesis"
    if record.accepted and (accepted := record.accepted_result):
        yield "accepted", f"{_date(record.accepted_at)}, height {record.accepted.height}"
        yield "model", short("0x" + accepted.result.global_root.hex())
        yield "CID", short(str(accepted.result.global_cid))
        yield "reward", ether(record.accepted.reserved)


def _tables(
    record: RoundRecord, slashes: list[Slashed]
) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    yield (
        "What the parties did",
        [("party", "update", "weight", "CID", "root"), *_party_lines(record)],
    )
    yield (
        "Signed results",
        [("root", "result", "updates", "signer"), *_result_lines(record)],
    )
    answers = {answer.id: answer.answerer for answer in record.answers}
    yield (
        "Demands",
        [
            ("demand", "level", "index", "by", "bond", "answered by"),
            *(
                (
                    str(demand.id),
                    str(demand.level),
                    str(demand.index),
                    short(demand.demander),
                    ether(demand.bond),
                    short(answers.get(demand.id, "nobody")),
                )
                for demand in record.demands
            ),
        ],
    )
    yield (
        "Slashed",
        [
            ("account", "role", "amount", "burnt"),
            *(
                (short(s.account), s.role.name.lower(), ether(s.amount), ether(s.burnt))
                for s in slashes
            ),
        ],
    )


def _party_lines(record: RoundRecord) -> Iterator[tuple[str, ...]]:
    """The parties that revealed, in the order of their reveals, then those that did not."""
    for update in record.updates:
        yield (short(update.party), _fate(record, update), str(update.weight), *_names(update))
    for copy in record.duplicates:
        root = short("0x" + copy.root.hex())
        yield (short(copy.party), "duplicate", "", "", root)
    revealed = {update.party for update in record.updates}
    revealed |= {copy.party for copy in record.duplicates}
    for party in record.parties:
        if party not in revealed:
            yield (short(party), "not revealed", "", "", "")


def _fate(record: RoundRecord, update: RevealedUpdate) -> str:
    if record.accepted is None:
        return "counted"
    return "included" if update.index in record.included else "left out"


def _names(update: RevealedUpdate) -> tuple[str, str]:
    return short(str(update.cid)), short("0x" + update.root.hex())


def _result_lines(record: RoundRecord) -> Iterator[tuple[str, ...]]:
    for signed in record.results:
        said = "accepted" if signed is record.accepted_result else "not accepted"
        if signed.fraud:
            said = f"{said}, proven wrong by {short(signed.fraud.challenger)}"
        updates = str(signed.result.included.bit_count())
        root = short("0x" + signed.result.global_root.hex())
        for signer in signed.signers:
            yield root, said, updates, short(signer)


# ---------------------------------------------------------------------- words


def _date(timestamp: int) -> str:
    if not timestamp:
        return ""
    date = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return f"{date:%Y-%m-%d %H:%M} UTC"


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    """Print columns; a long value is never wrapped."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print(line.rstrip(), soft_wrap=True, markup=False)
