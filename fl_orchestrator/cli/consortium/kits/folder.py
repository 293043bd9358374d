"""The files of a member's kit, as texts; and writing them without changing what is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fl_orchestrator.cli.consortium.kits.table import ListedMember
from fl_orchestrator.cli.init import settings_text
from fl_orchestrator.errors import InputError
from fl_orchestrator.files import read_regular, write_whole
from fl_orchestrator.members.answer import (
    ANSWER_FILE,
    WORD,
    Address,
    ChainId,
    MemberName,
    MemberRole,
)
from fl_orchestrator.members.terms import AgreedTerms

KIT_FILE: Final = "kit.json"
_MAX_FILE_BYTES: Final = 1 << 16


class BadKit(InputError):
    """A folder is not a member's kit, or its kit is for another federation or account."""


class Kit(BaseModel):
    """``kit.json``: for whom a kit is, and what the owner says the federation is."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: Literal[1] = 1
    name: MemberName
    role: MemberRole
    account: Annotated[str, Field(pattern=r"^$")] | Address = ""
    chain_id: ChainId
    federation: Address
    manifest_digest: Annotated[str, Field(pattern=WORD)]
    genesis_root: Annotated[str, Field(pattern=WORD)]

    @classmethod
    def of(cls, member: ListedMember, terms: AgreedTerms) -> Self:
        return cls(
            name=member.name,
            role=member.role,
            account=member.address,
            chain_id=terms.chain_id,
            federation=terms.federation,
            manifest_digest="0x" + terms.manifest_digest.hex(),
            genesis_root="0x" + terms.genesis_root.hex(),
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The kit in a folder. Raises BadKit."""
        path = folder / KIT_FILE
        try:
            return cls.model_validate_json(read_regular(path, _MAX_FILE_BYTES))
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is none of this version"
            raise BadKit(
                f"{path} cannot be used: {reason}.",
                "Name the folder that `flo federation kit` has written, or run this command in it.",
            ) from error

    def terms(self) -> AgreedTerms:
        return AgreedTerms(
            self.chain_id,
            self.federation,
            bytes.fromhex(self.manifest_digest[2:]),
            bytes.fromhex(self.genesis_root[2:]),
        )


def kit_files(
    member: ListedMember, terms: AgreedTerms, values: Mapping[str, str | int | list[str]]
) -> dict[str, str]:
    """The texts of a member's files by name, with these values of settings in its flo.toml."""
    role = member.role
    settings = settings_text(
        role,
        {
            "chain-id": terms.chain_id,
            "federation": terms.federation,
            "key": f"{role}.json",
            **values,
        },
    )
    names = {"name": member.name, "role": role, "unit": _UNITS[role], "answer": ANSWER_FILE}
    return {
        "README.md": Template(_resource(f"{role}.md")).substitute(names),
        "compare.txt": compared(terms),
        "flo.toml": settings,
        _UNITS[role]: _resource(f"{role}.service"),
        # The last one: a folder with it is complete.
        KIT_FILE: Kit.of(member, terms).model_dump_json(indent=2) + "\n",
    }


_UNITS: Final = {"party": "flo-party.service", "aggregator": "flo-aggregator.service"}


def compared(terms: AgreedTerms) -> str:
    """What all members compare: the same text in each kit."""
    rows = "".join(
        f"\n{name}\n    {number}\n" + (f"    {words}\n" if words else "")
        for name, number, words in terms.rows()
    )
    return _resource("compare.txt") + rows


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def write_kit(folder: Path, files: Mapping[str, str]) -> dict[str, Literal["written", "kept"]]:
    """Write what is missing in a folder; return which files were written, and which are different.

    A file that is there is never changed. Raises BadKit if the folder cannot be written.
    """
    done: dict[str, Literal["written", "kept"]] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            if not os.path.lexists(path):
                write_whole(path, text)
                done[name] = "written"
            elif not _has(path, text):
                done[name] = "kept"
    except OSError as error:
        raise BadKit(
            f"{folder} cannot be written: {error.strerror}.", "Choose another --output."
        ) from error
    return done


def has_own_unit(folder: Path, role: MemberRole) -> bool:
    """Whether the unit in a kit, which root will install, is the one that is written here.

    True also if there is none.
    """
    path = folder / _UNITS[role]
    return not os.path.lexists(path) or _has(path, _resource(f"{role}.service"))


def _has(path: Path, text: str) -> bool:
    try:
        return read_regular(path, _MAX_FILE_BYTES) == text.encode()
    except OSError:
        return False  # a link, a folder, or not to be read: not what this command has written
