"""Golden vectors of the hashes, the EIP-712 digests and the draw (sections 5.2 to 5.4, 6, 10)."""

from eth_abi.abi import encode
from eth_account.messages import encode_typed_data

from vectors.encoding import Json, hexed, keccak, some, some_address, word

CHAINS = (1, 31337, 131277322940537)


def commitments() -> list[Json]:
    rows = []
    for i, chain in enumerate(CHAINS):
        federation, party = some_address(f"federation {i}"), some_address(f"party {i}")
        root, digest, salt = some(f"root {i}"), some(f"cid {i}"), some(f"salt {i}")
        number, weight, codec = (1, 7, 2**32 - 1)[i], (1, 200, 255)[i], (0x55, 0x70, 0x55)[i]
        types = ["uint256", "address", "uint64", "address", "bytes32", "(bytes32,uint8)"]
        types += ["uint8", "bytes32"]
        values = [chain, federation, number, party, root, (digest, codec), weight, salt]
        found = keccak(encode(types, values))
        rows.append(
            {
                "chainId": chain,
                "cidCodec": codec,
                "cidDigest": hexed(digest),
                "commitment": hexed(found),
                "federation": federation,
                "party": party,
                "root": hexed(root),
                "round": number,
                "salt": hexed(salt),
                "slot": hexed(found[:26]),
                "weight": weight,
            }
        )
    return rows


def rolling_hashes() -> list[Json]:
    """One chain of reveals: each row's ``previous`` is the ``updatesHash`` of the row before."""
    rows, current = [], bytes(32)
    for i, weight in enumerate((1, 2, 255, 17)):
        party, root = some_address(f"revealer {i}"), some(f"revealed {i}")
        packed = int(party, 16) << 96 | weight
        previous = current
        current = keccak(encode(["bytes32", "uint256", "bytes32"], [previous, packed, root]))
        rows.append(
            {
                "party": party,
                "previous": hexed(previous),
                "root": hexed(root),
                "updatesHash": hexed(current),
                "weight": weight,
            }
        )
    return rows


def seeds() -> list[Json]:
    rows, current = [], bytes(32)
    for number in (1, 2, 3, 2**32 - 1):
        previous, block_hash = current, some(f"block {number}")
        current = keccak(encode(["bytes32", "bytes32", "uint64"], [previous, block_hash, number]))
        rows.append(
            {
                "blockHash": hexed(block_hash),
                "previous": hexed(previous),
                "round": number,
                "seed": hexed(current),
            }
        )
    return rows


def typed_digest(chain: int, federation: str, kind: str, types: Json, message: Json) -> Json:
    domain = {
        "name": "Federation",
        "version": "1",
        "chainId": chain,
        "verifyingContract": federation,
    }
    signable = encode_typed_data(domain, {kind: types[kind], **types}, message)
    return {
        "digest": hexed(keccak(b"\x19" + signable.version + signable.header + signable.body)),
        "domainSeparator": hexed(signable.header),
        "structHash": hexed(signable.body),
    }


def results() -> list[Json]:
    types = {
        "Result": [
            {"name": "round", "type": "uint64"},
            {"name": "updatesHash", "type": "bytes32"},
            {"name": "baseRoot", "type": "bytes32"},
            {"name": "included", "type": "uint128"},
            {"name": "globalRoot", "type": "bytes32"},
            {"name": "globalCid", "type": "Cid"},
        ],
        "Cid": [{"name": "digest", "type": "bytes32"}, {"name": "codec", "type": "uint8"}],
    }
    rows = []
    for i, chain in enumerate(CHAINS):
        federation, number = some_address(f"federation {i}"), (1, 2, 2**32 - 1)[i]
        included, codec = (1, 0b1011, 2**100 - 1)[i], (0x55, 0x70, 0x70)[i]
        message = {
            "round": number,
            "updatesHash": some(f"updates {i}"),
            "baseRoot": some(f"base {i}"),
            "included": included,
            "globalRoot": some(f"global {i}"),
            "globalCid": {"digest": some(f"global cid {i}"), "codec": codec},
        }
        rows.append(
            {
                "baseRoot": hexed(some(f"base {i}")),
                "chainId": chain,
                "cidCodec": codec,
                "cidDigest": hexed(some(f"global cid {i}")),
                "federation": federation,
                "globalRoot": hexed(some(f"global {i}")),
                "included": word(included),
                "round": number,
                "updatesHash": hexed(some(f"updates {i}")),
                **typed_digest(chain, federation, "Result", types, message),
            }
        )
    return rows


def challenges() -> list[Json]:
    """The hashes that register challenges; ``result`` is the challenged row of ``results``."""
    rows = []
    types = ["address", "uint64", "bytes32", "uint256", "bytes32"]
    coordinates = (0, 1_000_003, 256 * 2**21 - 1, 2**256 - 1)
    for i, coordinate in enumerate(coordinates):
        number = i % len(CHAINS)
        result, challenger, salt = (
            results()[number],
            some_address(f"challenger {i}"),
            some(f"s {i}"),
        )
        values = [challenger, result["round"], bytes.fromhex(result["digest"][2:])]
        found = keccak(encode(types, [*values, coordinate, salt]))
        rows.append(
            {
                "challenge": hexed(found),
                "challenger": challenger,
                "coordinate": word(coordinate),
                "digest": result["digest"],
                "result": number,
                "round": result["round"],
                "salt": hexed(salt),
            }
        )
    return rows


def commits() -> list[Json]:
    types = {
        "Commit": [
            {"name": "round", "type": "uint64"},
            {"name": "party", "type": "address"},
            {"name": "commitment", "type": "bytes32"},
        ]
    }
    rows = []
    for row in commitments():
        message = {
            "round": row["round"],
            "party": row["party"],
            "commitment": bytes.fromhex(row["commitment"][2:]),
        }
        kept = {key: row[key] for key in ("chainId", "commitment", "federation", "party", "round")}
        digests = typed_digest(row["chainId"], row["federation"], "Commit", types, message)
        rows.append({**kept, **digests})
    return rows


def ticket(seed: bytes, party: str) -> int:
    return int.from_bytes(keccak(encode(["bytes32", "address"], [seed, party])), "big") >> 128


def draws() -> list[Json]:
    """Ordinary stakes, the limits of every type, and both sides of the threshold."""
    most, total_most = 2**96 - 1, 2**112 - 1
    cases = [
        *[(some(f"draw {i}"), i, 10**18, 100 * 10**18, 10) for i in range(20)],
        (some("limits"), 0, most, most, 2**16 - 1),
        (some("limits"), 1, most, total_most, 2**16 - 1),
        (some("limits"), 2, most, total_most, 1),
        (some("limits"), 3, 1, total_most, 2**16 - 1),
        (some("limits"), 4, 0, total_most, 2**16 - 1),
        (some("limits"), 5, 1, 1, 1),
        (some("limits"), 6, most, most, 1),
    ]
    for i in range(4):
        seed, total = some(f"threshold {i}"), (10**30, 2**100, total_most, 3**60)[i]
        below = ticket(seed, some_address(f"drawn {i}")) * total >> 128
        if below < 2**96:
            cases += [(seed, i, below, total, 1), (seed, i, below + 1, total, 1)]
    rows = []
    for seed, number, stake, total, participants in cases:
        party = some_address(f"drawn {number}")
        rows.append(
            {
                "drawn": ticket(seed, party) * total < (participants * stake) << 128,
                "participants": participants,
                "party": party,
                "seed": hexed(seed),
                "stake": word(stake),
                "totalStake": word(total),
            }
        )
    return rows
