"""What a coalition computes from the bytes that it holds of a private round: functions of bytes.

It has whatever the processes wrote and sent, but the homes of honest parties and the vaults of
honest seats; of its own members it has all. From this come values that it knows: pieces and seeds.
Every correction, which is public, is an exclusive or of others. So the rest is linear algebra over
GF(2): what it can compute at all by exclusive ors of what it knows, it computes.

``Name`` is ("piece", k, l, a) for the piece of label l and set a that the commit of index k made,
or ("seed", i, j) for the seed of a pair i < j, and ("seed", k, k) for the own one of k.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from eth_keyfile import keyfile
from numpy.typing import NDArray
from pydantic_core import from_json

from fl_orchestrator.model.chunk_tree import root_from_proof
from fl_orchestrator.model.keccak import keccak256, stream
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.dealing import Dealing, all_pieces
from fl_orchestrator.privacy.label_tree import label_depth
from fl_orchestrator.privacy.seal import Seal, right_shares

Name = tuple[Any, ...]
Known = dict[Name, bytes]


def seed_name(k: int, label: int) -> Name:
    return "seed", min(k, label), max(k, label)


# ------------------------------------------------------------------ what is known from which bytes


def secrets_in_vault(path: Path, password: str) -> list[bytes]:
    """The decryption keys in the vault of a seat."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT keystore FROM keys").fetchall()
    key = password.encode()
    return [bytes(keyfile.decode_keyfile_json(from_json(row[0]), key)) for row in rows]


def of_share(k: int, number: int, share: bytes, size: int) -> Known:
    """All pieces of one share."""
    pieces = all_pieces(share, size)
    return {("piece", k, label, number): piece for label, piece in enumerate(pieces)}


def of_seat(
    context: RoundContext, seals: Mapping[int, Seal], position: int, secrets: Sequence[bytes]
) -> Known:
    """The pieces of all shares that these keys open at a position of the seat table."""
    known: Known = {}
    for secret in secrets:
        for k, seal in seals.items():
            for number, share in right_shares(context, k, seal, position, secret).items():
                known |= of_share(k, number, share, context.size)
    return known


def of_party(dealing: Dealing) -> Known:
    """The seeds that a party derives: its own, and those that it has in common with the others."""
    return {seed_name(dealing.index, label): seed for label, seed in enumerate(dealing.seeds)}


def of_release(context: RoundContext, seals: Mapping[int, Seal], data: bytes) -> Known:
    """The right pieces in a file, if it is a release file."""
    known: Known = {}
    width = 3 + 32 * (1 + label_depth(context.size))
    for start in range(0, len(data) - width + 1, width):
        k, a, label = data[start : start + 3]
        if k not in seals or a >= len(context.sets) or label >= context.size:
            continue
        record = data[start + 3 : start + width]
        piece, *path = (record[i : i + 32] for i in range(0, len(record), 32))
        if root_from_proof(keccak256(piece), label, path) == seals[k].roots[a]:
            known["piece", k, label, a] = piece
    return known


# ------------------------------------------------------------------ everything in any file


def secrets_of(dealings: Sequence[Dealing], zs: Sequence[bytes]) -> dict[bytes, Known]:
    """For each 32-byte secret of any party: what whoever finds it in a file knows."""
    found: dict[bytes, Known] = {}
    for z, dealing in zip(zs, dealings, strict=True):
        k, size = dealing.index, len(dealing.seeds)
        everything = of_party(dealing)
        for number, share in enumerate(dealing.shares):
            everything |= of_share(k, number, share, size)
        found |= {value: {name: value} for name, value in everything.items()}
        for number, share in enumerate(dealing.shares):
            found[share] = of_share(k, number, share, size)
        found[z] = everything
    return found


def occurring(data: bytes, secrets: Collection[bytes]) -> set[bytes]:
    """Which of these 32-byte values occur in some bytes: as they are, or in hexadecimal."""
    windows = {data[start : start + 32] for start in range(len(data) - 31)}
    text = data.lower()
    written = {secret for secret in secrets if secret.hex().encode() in text}
    return windows & set(secrets) | written


# ------------------------------------------------------------------ what follows


def closure(context: RoundContext, seals: Mapping[int, Seal], known: Known) -> Known:
    """The seeds of these seals that are exclusive ors of what is known and public."""
    rows: list[tuple[int, int]] = []
    places: dict[Name, int] = {}
    for k, seal in seals.items():
        for label in range(context.size):
            form, value = 0, int.from_bytes(seal.corrections[label], "big")
            pieces = (("piece", k, label, a) for a in range(len(context.sets)))
            for name in (seed_name(k, label), *pieces):
                if name in known:
                    value ^= int.from_bytes(known[name], "big")
                else:
                    form ^= 1 << places.setdefault(name, len(places))
            rows.append((form, value))
    solved = _solve(rows)
    return {
        name: known[name] if name in known else solved[1 << places[name]].to_bytes(32, "big")
        for k in seals
        for name in (seed_name(k, label) for label in range(context.size))
        if name in known or 1 << places[name] in solved
    }


def _solve(rows: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The values of the unknowns, each a bit, that linear forms over GF(2) determine."""
    reduced: dict[int, tuple[int, int]] = {}
    for form, value in rows:
        for pivot, (other, known) in reduced.items():
            if form & pivot:
                form, value = form ^ other, value ^ known
        if not form:
            assert value == 0, "the equations contradict each other"
            continue
        pivot = form & -form
        for earlier, (other, known) in reduced.items():
            if other & pivot:
                reduced[earlier] = other ^ form, known ^ value
        reduced[pivot] = form, value
    return {form: value for form, value in reduced.values() if not form & form - 1}


def unknown_masks(size: int, k: int, seeds: Mapping[Name, bytes]) -> set[Name]:
    """The masks of the commit of index k whose seeds are not known."""
    return {seed_name(k, label) for label in range(size)} - seeds.keys()


def read_update(
    k: int, size: int, masked: NDArray[np.uint32], seeds: Mapping[Name, bytes]
) -> NDArray[np.int32]:
    """x of a party, all of whose seeds are known."""
    x = masked.copy()
    for label in range(size):
        mask = stream(seeds[seed_name(k, label)], x.size)
        x = x + mask if label < k else x - mask
    return x.view(np.int32)


def files_below(directory: Path, skip: Callable[[Path], bool]) -> Iterator[tuple[str, bytes]]:
    """The paths and bytes of all files below a directory, but some."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not skip(path):
            yield str(path.relative_to(directory)), path.read_bytes()
