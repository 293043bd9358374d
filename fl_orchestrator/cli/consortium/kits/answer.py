"""`flo federation answer`: a member's account, signed, for the owner to admit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, out, print_json, safe, say
from fl_orchestrator.cli.site import Holder, expanded, open_signer, with_options
from fl_orchestrator.errors import ToolchainError, install_hint

if TYPE_CHECKING:
    from fl_orchestrator.cli.consortium.kits.folder import Kit
    from fl_orchestrator.members.terms import AgreedTerms

_FOLDER: Final = Path()


@with_options
def answer(
    site: Holder,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[KIT]", help="The kit's folder. Default: here.", show_default=False
        ),
    ] = _FOLDER,
    qr: Annotated[bool, typer.Option("--qr", help="Show the answer as a QR code too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Compare a kit with the chain, and answer its owner with the account of the key.

    Nothing is sent: the answer is a file, signed with the key, without any secret. Read the words
    that this prints aloud to the other members: they must hear what they see.

    Example: flo federation answer
    """
    from fl_orchestrator.cli.consortium.kits.folder import BadKit, Kit, has_own_unit
    from fl_orchestrator.files import write_whole
    from fl_orchestrator.members.answer import ANSWER_FILE, Answer
    from fl_orchestrator.members.terms import AgreedTerms

    directory = expanded(folder)
    given = Kit.read(directory)
    account = site.account()
    if given.account not in ("", account):
        raise BadKit(
            f"The kit is for the account {given.account}, and the key is that of {account}.",
            "Use that key, or ask the owner to list the other account.",
        )
    terms = AgreedTerms.of(site.open_federation())
    _compare(given, terms)
    signer = open_signer(site.key, site.password_file)
    signed = Answer.signed(given.name, given.role, terms, signer)
    path = directory / ANSWER_FILE
    try:
        write_whole(path, signed.to_text() + "\n")
    except OSError as error:
        raise BadKit(
            f"{path} cannot be written: {error.strerror}.", "Check the folder of the kit."
        ) from error
    words, own_unit = terms.rows()[-1][2], has_own_unit(directory, given.role)
    if json_output:
        answered = {"answer": signed.model_dump(), "file": str(path), "words": words}
        print_json({**answered, "unit_is_own": own_unit})
        return
    if not own_unit:
        say("The unit in this folder is not the one that flo writes. Read it: root will run it.")
    say(f"Your endpoint shows what the kit says. Read aloud to the other members: {words}.")
    say(f"{signed.account} answers as {signed.role} {safe(signed.name)}.")
    say(f"Send {safe(path)} to the owner. Register after it has admitted you.")
    if qr:
        show_code(signed.to_text())


def _compare(given: Kit, terms: AgreedTerms) -> None:
    """Check that the chain has what the kit says. Raises BadKit."""
    from fl_orchestrator.cli.consortium.kits.folder import BadKit

    said = given.terms().rows()
    for (name, number, _), (_, there, _) in zip(said, terms.rows(), strict=True):
        if number != there:
            raise BadKit(
                f"The kit says {name} {number}, and your endpoint shows {there}.",
                "Do not answer. Ask the owner, over a channel that you trust, and the others.",
            )


def show_code(text: str) -> None:
    """Print a QR code; two rows of it are one line of half blocks, light on dark."""
    try:
        import segno
    except ImportError as error:
        raise ToolchainError(
            "A QR code needs the package segno; the answer is written all the same.",
            install_hint("qr"),
        ) from error
    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        line = "".join(
            " ▄▀█"[2 * (not up) + (not low)] for up, low in zip(upper, lower, strict=True)
        )
        out.print(line, markup=False, highlight=False, soft_wrap=True)
