"""`flo federation kit`: one folder for each member, with everything but its key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, print_json, safe, say
from fl_orchestrator.cli.site import Endpoint, expanded, with_options
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fl_orchestrator.cli.consortium.kits.table import ListedMember

_NODE: Final = "kubo+http://127.0.0.1:5001"
_DIRECTORY: Final = "file:store"


@with_options
def kit(
    members: Annotated[
        Path,
        typer.Argument(help="A table with the columns name, role and, if you like, address."),
    ],
    site: Endpoint,
    output: Annotated[Path, typer.Option(help="Where the folders are made.")] = Path("kits"),
    member_rpc: Annotated[
        str,
        typer.Option(
            metavar="URLS",
            help="The members' endpoints, separated by commas. Default: those of --rpc.",
        ),
    ] = "",
    member_relay: Annotated[
        str, typer.Option(metavar="URL", help="A keeper's relay, for the parties.")
    ] = "",
    member_store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The members' store. Default: an IPFS node on their machine; a directory there "
            "for parties with a relay.",
        ),
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Write a folder for each member: settings, a unit file, what to compare, what to type.

    Members make their keys themselves, and answer with an address and a signature. What is in a
    folder already is never changed.

    Example: flo federation kit members.csv --federation 0x5FbD…0aa3
    """
    from fl_orchestrator.cli.consortium.kits.folder import kit_files, write_kit
    from fl_orchestrator.cli.consortium.kits.table import read_members
    from fl_orchestrator.members.terms import AgreedTerms

    listed = read_members(expanded(members))
    urls = _urls(member_rpc) if member_rpc else _of_owner(site.rpc)
    terms = AgreedTerms.of(site.open_federation())
    root = expanded(output)
    done = {}
    for member in listed:
        values: dict[str, str | int | list[str]] = {"rpc": urls}
        values["store"] = _checked(member_store) or _store(member, member_relay)
        if member_relay and member.role == "party":
            values["relay"] = _checked(member_relay)
        folder = root / member.name / member.role
        done[folder] = write_kit(folder, kit_files(member, terms, values))
    if json_output:
        kits = [
            {
                "name": member.name,
                "role": member.role,
                "folder": str(folder),
                "written": [name for name, what in files.items() if what == "written"],
                "kept": [name for name, what in files.items() if what == "kept"],
            }
            for member, (folder, files) in zip(listed, done.items(), strict=True)
        ]
        print_json({"kits": kits, "fingerprint": "0x" + terms.fingerprint.hex()})
        return
    for folder, files in done.items():
        _tell(folder, files)
    say(f"Send each member its folder. {len(done)} kits; all of them: {terms.rows()[-1][2]}.")


def _tell(folder: Path, files: Mapping[str, str]) -> None:
    kept = [folder / name for name, what in files.items() if what == "kept"]
    written = len(files) - len(kept)
    what = f"{written} file{'s' * (written != 1)} written" if written else "nothing to write"
    say(f"{safe(folder)}: {what}.")
    for path in kept:
        say(f"{safe(path)} is different and was not changed. Move it away to have it written.")


def _store(member: ListedMember, relay: str) -> str:
    return _DIRECTORY if relay and member.role == "party" else _NODE


def _of_owner(rpc: str) -> list[str]:
    """The owner's endpoints, if they have nothing that may be a secret. Raises InputError."""
    from urllib.parse import urlsplit

    urls = _urls(rpc)
    for url in urls:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise InputError(
                "Your own endpoint may have a password or an API key in its URL, which members "
                "must not get.",
                "Name the endpoints of the members: --member-rpc URLS.",
            )
    return urls


def _urls(text: str) -> list[str]:
    return [url for part in text.split(",") if (url := _checked(part.strip()))]


def _checked(url: str) -> str:
    from fl_orchestrator.printable import is_printable

    if not is_printable(url):
        raise InputError(f"{url!r} is not a URL.", "Type it again.")
    return url
