"""`flo federation admit` and `remove`: who may register, by addresses or by signed answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, print_json, safe, say, short
from fl_orchestrator.cli.site import DryRunOption, Payer, expanded, parse_address, with_options
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.chain.types import Role
    from fl_orchestrator.cli.consortium.kits.table import ListedMember
    from fl_orchestrator.members.answer import Answer
    from fl_orchestrator.members.terms import AgreedTerms

_DEFAULT_ROLE: Final = "party"
_MOST_ANSWERS: Final = 10_000


@with_options
def admit(
    site: Payer,
    accounts: Annotated[
        list[str] | None, typer.Argument(help="The accounts to admit.", show_default=False)
    ] = None,
    role: Annotated[str, typer.Option(help="party or aggregator. Default: party.")] = "",
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Instead of accounts: a member's answer, or a folder of answers. Repeatable.",
            show_default=False,
        ),
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(help="The list from which the kits were made: admit nobody else."),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Let accounts register in a role. Only the owner can do this.

    With --answers the accounts and roles are those of signed answers. Nobody is admitted if one of
    them is wrong: `flo federation admit --answers answers/ --members members.csv`.

    Example: flo federation admit 0x7099…79C8 --role party --key owner.json
    """
    if bool(accounts) == bool(answers):
        raise InputError("Nobody is named, or in two ways.", "Give accounts, or --answers PATH.")
    if answers:
        if role:
            raise InputError(
                "--role is for accounts: an answer says its role itself.", "Leave it out."
            )
        _admit_answers(site, answers, members, dry_run, json_output)
        return
    if members:
        raise InputError("--members is for --answers.", "Leave it out, or give the answers.")
    name = role or _DEFAULT_ROLE
    as_role = _role(name)
    addresses = sorted({parse_address(account) for account in accounts or ()})
    chain = site.open_federation()
    sender = site.open_sender(chain)
    gas = _send(chain, sender, {as_role: addresses}, dry_run)
    if json_output:
        print_json({"admitted": addresses, "role": name, "gas": gas, "dry_run": dry_run})
        return
    what = f"{len(addresses)} account{'s' * (len(addresses) > 1)} as {name}"
    say(f"Would admit {what}; {gas:,} gas." if dry_run else f"Admitted {what}.")


def _admit_answers(
    site: Payer, paths: Sequence[Path], members: Path | None, dry_run: bool, json_output: bool
) -> None:
    from fl_orchestrator.cli.consortium.kits.table import read_members
    from fl_orchestrator.members.terms import AgreedTerms

    listed = None if members is None else read_members(expanded(members))
    chain = site.open_federation()
    answers = checked_answers(paths, AgreedTerms.of(chain), listed)
    before = {_key(answer): _is_admitted(chain, answer) for answer in answers}
    wanted: dict[Role, list[str]] = {}
    for answer in answers:
        if not before[_key(answer)]:
            wanted.setdefault(_role(answer.role), []).append(answer.account)
    missing = [m for m in listed or () if (m.name, m.role) not in before]
    if not json_output:
        _show(answers, before, missing)
    gas = _send(chain, site.open_sender(chain), wanted, dry_run) if wanted else 0
    if json_output:
        print_json(_as_json(answers, before, missing) | {"gas": gas, "dry_run": dry_run})
        return
    count = sum(map(len, wanted.values()))
    what = f"{count} account{'s' * (count != 1)}"
    say(f"Would admit {what}; {gas:,} gas." if dry_run else f"Admitted {what}.")


def checked_answers(
    paths: Iterable[Path], terms: AgreedTerms, listed: Sequence[ListedMember] | None
) -> list[Answer]:
    """Read answers from files and folders, and check each of them and all together.

    Every entry of a folder must be an answer, but hidden ones. With a list, an answer must be of a
    member in it, with the account that it names, if it does. Raises BadAnswer.
    """
    from fl_orchestrator.members.answer import Answer, BadAnswer

    expected: dict[tuple[str, str], str] = {(m.name, m.role): m.address for m in listed or ()}
    found: dict[tuple[str, str], tuple[Answer, Path]] = {}
    owners: dict[str, Path] = {}
    spelled: dict[str, str] = {}
    for path in _files(paths):
        answer = Answer.read(path)
        answer.check(terms, path)
        who = f"{answer.name} as {answer.role}"
        if listed is not None and _key(answer) not in expected:
            raise BadAnswer(
                f"{path} is the answer of {who}, who is not on the list.",
                "Ask who sent it. Add the member to the list only if you know.",
            )
        spelling = spelled.setdefault(answer.name.casefold(), answer.name)
        if spelling != answer.name:
            raise BadAnswer(
                f"{path} is of {answer.name}, and another answer of {spelling}.",
                "Two members' names must differ by more than capital letters. Ask who sent them.",
            )
        account = expected.get(_key(answer)) or answer.account
        if account != answer.account:
            raise BadAnswer(
                f"{path} has the account {answer.account} for {who}; the list has {account}.",
                "Ask the member, over a channel that you trust, which one is right.",
            )
        earlier = found.setdefault(_key(answer), (answer, path))
        if earlier[0].account != answer.account:
            raise BadAnswer(
                f"{earlier[1]} and {path} name two accounts for {who}.",
                "Ask the member which one is right, and remove the other.",
            )
        owner = owners.setdefault(answer.account, path)
        if earlier[1] == path and owner != path:
            raise BadAnswer(
                f"{owner} and {path} name the same account, {answer.account}.",
                "Each member needs its own key for each role.",
            )
    return [answer for answer, _ in found.values()]


def _files(paths: Iterable[Path]) -> list[Path]:
    from fl_orchestrator.members.answer import BadAnswer

    files: list[Path] = []
    for path in map(expanded, paths):
        inside = [path]
        if path.is_dir():
            try:
                inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
            except OSError as error:
                raise BadAnswer(f"{path} cannot be read: {error.strerror}.") from error
        files += inside
    if not files or len(files) > _MOST_ANSWERS:
        count = f"more than {_MOST_ANSWERS:,}" if files else "no"
        raise BadAnswer(f"There are {count} answers.", "Name the files, or the folder with them.")
    return files


def _key(answer: Answer) -> tuple[str, str]:
    return answer.name, answer.role


def _is_admitted(chain: Federation, answer: Answer) -> bool:
    seen = chain.observe(answer.account)
    return (seen.party if answer.role == "party" else seen.aggregator).admitted


def _show(
    answers: Sequence[Answer],
    before: Mapping[tuple[str, str], bool],
    missing: Sequence[ListedMember],
) -> None:
    for answer in answers:
        known = " (is admitted already)" * before[_key(answer)]
        say(f"{safe(answer.name)} as {answer.role}: {answer.account}{known}")
    for member in missing:
        say(f"{safe(member.name)} as {member.role}: no answer yet")


def _as_json(
    answers: Sequence[Answer],
    before: Mapping[tuple[str, str], bool],
    missing: Sequence[ListedMember],
) -> dict[str, Any]:
    return {
        "answers": [
            {
                "name": answer.name,
                "role": answer.role,
                "account": answer.account,
                "already_admitted": before[_key(answer)],
            }
            for answer in answers
        ],
        "no_answer": [{"name": member.name, "role": member.role} for member in missing],
    }


def _send(
    chain: Federation, sender: Sender, wanted: Mapping[Role, Sequence[str]], dry_run: bool
) -> int:
    """Admit accounts in batches, or only check that; return the gas."""
    from fl_orchestrator.chain.sending.batches import ADMISSION_GAS, batches

    calls = [
        chain.admit(batch, role)
        for role, accounts in wanted.items()
        for batch in batches(sender, accounts, ADMISSION_GAS)
    ]
    return sum(sender.check(call) if dry_run else sender.send(call).gas_used for call in calls)


@with_options
def remove(
    account: Annotated[str, typer.Argument(help="The account to remove.")],
    site: Payer,
    role: Annotated[str, typer.Option(help="party or aggregator.")] = _DEFAULT_ROLE,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """End an account's admission in a role. Owner only.

    It takes part until the current round is over. Its stake unbonds from now on, as if it had asked
    for it, and goes to its beneficiary.

    Example: flo federation remove 0x7099…79C8 --role party --key owner.json
    """
    as_role = _role(role)
    address = parse_address(account)
    chain = site.open_federation()
    sender = site.open_sender(chain)
    call = chain.remove(address, as_role)
    gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        print_json({"removed": address, "role": role, "gas": gas, "dry_run": dry_run})
        return
    what = f"{short(address)} as {role}"
    say(f"Would remove {what}; {gas:,} gas." if dry_run else f"Removed {what}.")


def _role(name: str) -> Role:
    from fl_orchestrator.chain.types import Role

    if name not in ("party", "aggregator"):
        raise InputError(f"There is no role {name!r}.", "Use party or aggregator.")
    return Role[name.upper()]
