"""Golden vectors of private rounds: keys, sets, seat tables, contexts and what is signed (12.3)."""

from itertools import combinations

from eth_abi.abi import encode

from vectors import curve
from vectors.encoding import Json, hexed, keccak, some, some_address, some_int, word
from vectors.hashes import CHAINS, typed_digest

LABELS = ("context", "ephemeral", "mask-key", "noise", "pair", "piece", "seat", "share")


def label(name: str) -> bytes:
    return keccak(b"flo." + name.encode())


def hashed(*words: bytes | int) -> bytes:
    """H(...): keccak256(abi.encode(...)) of words."""
    types = ["uint256" if isinstance(w, int) else "bytes32" for w in words]
    return keccak(encode(types, words))


def labels() -> list[Json]:
    return [{"label": hexed(label(name)), "name": name} for name in LABELS]


def secrets() -> list[Json]:
    """``agreed``: what the secret shares with the key ``other``."""
    rows = []
    digests = [some(f"digest {i}") for i in range(6)]
    digests += [(1).to_bytes(32), (curve.ORDER - 1).to_bytes(32), (curve.ORDER + 5).to_bytes(32)]
    digests += [b"\xff" * 32]
    for i, digest in enumerate(digests):
        secret = curve.secret_of(digest)
        other = curve.public_key(curve.secret_of(some(f"other {i}")))
        rows.append(
            {
                "agreed": hexed(curve.agreed(secret, other)),
                "digest": hexed(digest),
                "other": hexed(other),
                "publicKey": hexed(curve.public_key(secret)),
                "secret": word(secret),
            }
        )
    return rows


def public_keys() -> list[Json]:
    """Words around the limits, and others, half of which are no x of a point."""
    found = [some_int(f"x {i}", 0, 2**256 - 1) for i in range(8)]
    found += [0, 1, 5, curve.FIELD - 1, curve.FIELD, curve.FIELD + 1, curve.ORDER, 2**256 - 1]
    return [{"onCurve": curve.lifted(x) is not None, "x": word(x)} for x in found]


def sets_of(stakes: list[int], secrecy: int) -> list[int]:
    """The maximal sets, by comparing all of them with each other."""
    small = [
        frozenset(members)
        for size in range(len(stakes) + 1)
        for members in combinations(range(len(stakes)), size)
        if 3 * sum(stakes[p] for p in members) <= secrecy * sum(stakes)
    ]
    return sorted(sum(1 << p for p in s) for s in small if not any(s < other for other in small))


def sets() -> list[Json]:
    cases = [[10**18] * size for size in range(1, 7)]
    cases += [[5, 3, 2], [70, 10, 10, 10], [1, 2, 3, 4, 5], [2**96 - 1, 1, 2**96 - 1]]
    return [
        {
            "secrecy": secrecy,
            "sets": sets_of(stakes, secrecy),
            "stakes": [word(stake) for stake in stakes],
        }
        for stakes in cases
        for secrecy in (1, 2)
    ]


def seat_tables() -> list[Json]:
    """One table: each row's ``previous`` is the ``seatsHash`` of the row before."""
    rows, current = [], bytes(32)
    for i, stake in enumerate((10**18, 1, 2**96 - 1, 7 * 10**20)):
        account, key = some_address(f"seat {i}"), some(f"seat key {i}")
        previous = current
        current = hashed(previous, int(account, 16) << 96 | stake, key)
        rows.append(
            {
                "account": account,
                "key": hexed(key),
                "previous": hexed(previous),
                "seatsHash": hexed(current),
                "stake": word(stake),
            }
        )
    return rows


def commit_lists() -> list[Json]:
    """One list; the first ``previous`` is the root of the base model."""
    rows, current = [], some("base root")
    for i, weight in enumerate((1, 2, 255, 17)):
        party, key = some_address(f"masked party {i}"), some(f"mask key {i}")
        previous = current
        current = hashed(previous, int(party, 16) << 96 | weight, key)
        rows.append(
            {
                "commitsHash": hexed(current),
                "maskKey": hexed(key),
                "party": party,
                "previous": hexed(previous),
                "weight": weight,
            }
        )
    return rows


def context_of(
    chain: int, federation: str, number: int, base: bytes, commits: bytes, seats: bytes
) -> bytes:
    words = (chain, int(federation, 16), number, base, commits, seats)
    return hashed(label("context"), *words)


def contexts() -> list[Json]:
    rows = []
    for i, chain in enumerate(CHAINS):
        federation, number = some_address(f"federation {i}"), (1, 7, 2**32 - 1)[i]
        base, commits, seats = some(f"base {i}"), some(f"commits {i}"), some(f"seats {i}")
        ctx = context_of(chain, federation, number, base, commits, seats)
        locked = (0b111, 2**88 - 1, 1 << 87 | 0b101)[i]
        rows.append(
            {
                "baseRoot": hexed(base),
                "chainId": chain,
                "commitsHash": hexed(commits),
                "ctx": hexed(ctx),
                "federation": federation,
                "lock": hexed(hashed(ctx, locked)),
                "locked": word(locked),
                "round": number,
                "seatsHash": hexed(seats),
            }
        )
    return rows


FIELDS: dict[str, list[tuple[str, str]]] = {
    "Commit": [("address", "party"), ("uint8", "weight"), ("bytes32", "maskKey")],
    "Reveal": [
        ("address", "party"),
        ("bytes32", "commitsHash"),
        ("bytes32", "root"),
        ("Cid", "cid"),
    ],
    "Held": [("bytes32", "commitsHash"), ("bytes32", "updatesHash"), ("uint128", "held")],
    "Confirmed": [("bytes32", "lock")],
    "Release": [("bytes32", "lock"), ("Cid", "cid")],
    "Result": [
        ("bytes32", "updatesHash"),
        ("bytes32", "baseRoot"),
        ("uint128", "included"),
        ("bytes32", "seedsHash"),
        ("bytes32", "globalRoot"),
        ("Cid", "globalCid"),
    ],
}


def signed(kind: str) -> list[Json]:
    """What is signed of one kind: a row has its fields, and those of EIP-712."""
    named = [{"name": name, "type": type_} for type_, name in (("uint64", "round"), *FIELDS[kind])]
    types: Json = {kind: named}
    if any(type_ == "Cid" for type_, _ in FIELDS[kind]):
        digest, codec = {"name": "digest", "type": "bytes32"}, {"name": "codec", "type": "uint8"}
        types["Cid"] = [digest, codec]
    rows = []
    for i, chain in enumerate(CHAINS):
        federation, number = some_address(f"federation {i}"), (1, 7, 2**32 - 1)[i]
        message: Json = {"round": number}
        row: Json = {"chainId": chain, "federation": federation, "round": number}
        for type_, name in FIELDS[kind]:
            message[name], shown = field(kind, type_, name, i)
            row.update(shown)
        rows.append({**row, **typed_digest(chain, federation, kind, types, message)})
    return rows


def field(kind: str, type_: str, name: str, i: int) -> tuple[object, Json]:
    """A value of a field, and how a row shows it."""
    made = some(f"{kind} {name} {i}")
    if type_ == "address":
        value = some_address(f"{kind} {name} {i}")
        return value, {name: value}
    if type_ == "uint8":
        number = (1, 200, 255)[i]
        return number, {name: number}
    if type_ == "uint128":
        number = (0b111, 0b1011, 2**100 - 1)[i]
        return number, {name: word(number)}
    if type_ == "Cid":
        codec = (0x55, 0x70, 0x70)[i]
        return {"digest": made, "codec": codec}, {"cidCodec": codec, "cidDigest": hexed(made)}
    return made, {name: hexed(made)}
