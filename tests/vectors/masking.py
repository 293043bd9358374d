"""Golden vectors of masked updates: seals, releases and the arithmetic of a sum (12.4 to 12.7).

One small round, in plain Python: ``Reference`` derives whatever its parties, seats and the public
derive, in the slowest and plainest way.
"""

import functools
from dataclasses import dataclass

from vectors import curve
from vectors.arithmetic import rounded
from vectors.encoding import Json, hexed, keccak, some, some_address, some_int, word
from vectors.rounds import context_of, hashed, label, sets_of

VALUES = 70  # of a masked vector: more than one leaf
WORD = 2**32


def xored(*values: bytes) -> bytes:
    return functools.reduce(lambda a, b: bytes(x ^ y for x, y in zip(a, b, strict=True)), values)


def stream(seed: bytes, n: int) -> int:
    """PRG(seed)[n]."""
    block = keccak(seed + (n // 8).to_bytes(32, "big"))
    return int.from_bytes(block[4 * (n % 8) : 4 * (n % 8) + 4], "big")


def label_levels(pieces: list[bytes]) -> list[list[bytes]]:
    depth = 0
    while 2**depth < len(pieces):
        depth += 1
    tree = [[keccak(p) for p in pieces] + [bytes(32)] * (2**depth - len(pieces))]
    while len(tree[-1]) > 1:
        row = tree[-1]
        tree.append([keccak(row[i] + row[i + 1]) for i in range(0, len(row), 2)])
    return tree


def label_path(tree: list[list[bytes]], index: int) -> list[bytes]:
    return [row[index >> height ^ 1] for height, row in enumerate(tree[:-1])]


@dataclass(frozen=True)
class Reference:
    """A round: z and weight of each commit, secret and stake of each seat."""

    name: str
    weights: tuple[int, ...]
    stakes: tuple[int, ...]
    secrecy: int
    chain: int = 31337
    round: int = 5

    @property
    def size(self) -> int:
        return len(self.weights)

    @property
    def federation(self) -> str:
        return some_address(f"federation {self.name}")

    @property
    def base(self) -> bytes:
        return some(f"base {self.name}")

    def party(self, i: int) -> str:
        return some_address(f"party {self.name} {i}")

    def account(self, position: int) -> str:
        return some_address(f"seat {self.name} {position}")

    def z(self, i: int) -> bytes:
        return some(f"z {self.name} {i}")

    @functools.cache  # noqa: B019
    def mask_secret(self, i: int) -> int:
        return curve.secret_of(hashed(label("mask-key"), self.z(i), self.round))

    @functools.cache  # noqa: B019
    def seat_secret(self, position: int) -> int:
        return curve.secret_of(some(f"seat secret {self.name} {position}"))

    @functools.cached_property
    def sets(self) -> list[int]:
        return sets_of(list(self.stakes), self.secrecy)

    @functools.cached_property
    def mask_keys(self) -> list[bytes]:
        return [curve.public_key(self.mask_secret(i)) for i in range(self.size)]

    @functools.cached_property
    def seat_keys(self) -> list[bytes]:
        return [curve.public_key(self.seat_secret(p)) for p in range(len(self.stakes))]

    @functools.cached_property
    def commits_hash(self) -> bytes:
        current = self.base
        for i, weight in enumerate(self.weights):
            packed = int(self.party(i), 16) << 96 | weight
            current = hashed(current, packed, self.mask_keys[i])
        return current

    @functools.cached_property
    def seats_hash(self) -> bytes:
        current = bytes(32)
        for p, stake in enumerate(self.stakes):
            current = hashed(current, int(self.account(p), 16) << 96 | stake, self.seat_keys[p])
        return current

    @functools.cached_property
    def ctx(self) -> bytes:
        return context_of(
            self.chain,
            self.federation,
            self.round,
            self.base,
            self.commits_hash,
            self.seats_hash,
        )

    def share(self, i: int, a: int) -> bytes:
        return hashed(label("share"), self.z(i), self.ctx, a)

    def piece(self, i: int, a: int, index: int) -> bytes:
        return hashed(label("piece"), self.share(i, a), index)

    def tree(self, i: int, a: int) -> list[list[bytes]]:
        return label_levels([self.piece(i, a, index) for index in range(self.size)])

    @functools.cache  # noqa: B019
    def seed(self, i: int, index: int) -> bytes:
        """The seed of a label of i: b for its own, s_ij for another."""
        if i == index:
            return xored(*(self.piece(i, a, i) for a in range(len(self.sets))))
        low, high = sorted((i, index))
        shared = curve.agreed(self.mask_secret(low), self.mask_keys[high])
        return hashed(label("pair"), self.ctx, low, high, shared)

    def correction(self, i: int, index: int) -> bytes:
        pieces = (self.piece(i, a, index) for a in range(len(self.sets)))
        return xored(self.seed(i, index), *pieces)

    def head(self, i: int) -> bytes:
        return b"".join(keccak(self.seed(i, index)) for index in range(self.size))

    @functools.cache  # noqa: B019
    def body(self, i: int) -> bytes:
        ephemeral = curve.secret_of(hashed(label("ephemeral"), self.z(i), self.ctx))
        parts = [curve.public_key(ephemeral)]
        parts += [self.correction(i, index) for index in range(self.size)]
        parts += [self.tree(i, a)[-1][0] for a in range(len(self.sets))]
        for p, key in enumerate(self.seat_keys):
            k = hashed(label("seat"), self.ctx, i, p, curve.agreed(ephemeral, key))
            held = [a for a, members in enumerate(self.sets) if not members >> p & 1]
            parts += [xored(self.share(i, a), hashed(k, t)) for t, a in enumerate(held)]
        return b"".join(parts)

    def seal_hash(self, i: int) -> bytes:
        return hashed(keccak(self.head(i)), keccak(self.body(i)))

    def value(self, i: int, n: int) -> int:
        """x of the commit of index i: its weighted update, in Z_2^32."""
        update = some_int(f"update {self.name} {i} {n}", -32_768, 32_767)
        return self.weights[i] * update % WORD

    def masked(self, i: int, n: int) -> int:
        """y of the commit of index i."""
        total = self.value(i, n) + stream(self.seed(i, i), n)
        for j in range(self.size):
            if j != i:
                mask = stream(self.seed(i, j), n)
                total += mask if j > i else -mask
        return total % WORD

    def opened(self, included: list[int]) -> list[bytes]:
        """The seeds of a result; ``included`` are the indices by place."""
        left = [j for j in range(self.size) if j not in included]
        return [self.seed(i, j) for i in included for j in (i, *left)]

    def sum_of(self, included: list[int], n: int) -> int:
        """S, read as int32."""
        total = sum(self.value(i, n) for i in included) % WORD
        return total - WORD if total >= WORD // 2 else total


ROUNDS = (
    Reference("equal", (3, 1, 255, 7), (10**18,) * 4, 2),
    Reference("unequal", (1, 2, 3, 4, 5), (5, 3, 2, 4), 1),
    Reference("small", (200, 1, 1), (1,), 2),
)


def rounds() -> list[Json]:
    """All that goes into the contexts of the rounds below."""
    return [
        {
            "accounts": [r.account(p) for p in range(len(r.stakes))],
            "baseRoot": hexed(r.base),
            "chainId": r.chain,
            "commitsHash": hexed(r.commits_hash),
            "ctx": hexed(r.ctx),
            "federation": r.federation,
            "maskKeys": [hexed(key) for key in r.mask_keys],
            "parties": [r.party(i) for i in range(r.size)],
            "round": r.round,
            "seatKeys": [hexed(key) for key in r.seat_keys],
            "seatSecrets": [word(r.seat_secret(p)) for p in range(len(r.stakes))],
            "seatsHash": hexed(r.seats_hash),
            "secrecy": r.secrecy,
            "sets": r.sets,
            "stakes": [word(stake) for stake in r.stakes],
            "weights": list(r.weights),
            "zs": [hexed(r.z(i)) for i in range(r.size)],
        }
        for r in ROUNDS
    ]


def seals() -> list[Json]:
    """``roundRow`` is the row of ``privateRounds``; ``valuesRoot`` is any root."""
    return [
        {
            "body": hexed(r.body(i)),
            "head": hexed(r.head(i)),
            "index": i,
            "roundRow": number,
            "root": hexed(hashed(some(f"values {r.name} {i}"), r.seal_hash(i))),
            "sealHash": hexed(r.seal_hash(i)),
            "seeds": [hexed(r.seed(i, index)) for index in range(r.size)],
            "valuesRoot": hexed(some(f"values {r.name} {i}")),
        }
        for number, r in enumerate(ROUNDS)
        for i in range(r.size)
    ]


def pieces() -> list[Json]:
    """Pieces p_a(l) with their paths; ``index`` is l."""
    return [
        {
            "index": index,
            "leaf": hexed(keccak(r.piece(k, a, index))),
            "party": k,
            "path": [hexed(sibling) for sibling in label_path(r.tree(k, a), index)],
            "piece": hexed(r.piece(k, a, index)),
            "roundRow": number,
            "root": hexed(r.tree(k, a)[-1][0]),
            "set": a,
        }
        for number, r in enumerate(ROUNDS)
        for k, a in ((0, 0), (r.size - 1, len(r.sets) - 1))
        for index in range(r.size)
    ]


def release_files() -> list[Json]:
    """What a seat releases for a lock, from all its shares."""
    rows = []
    for number, position, locked in (
        (0, 1, 0b1011),
        (0, 3, 0b1111),
        (1, 0, 0b10101),
        (2, 0, 0b110),
    ):
        r, data = ROUNDS[number], b""
        held = [a for a, members in enumerate(r.sets) if not members >> position & 1]
        for k in range(r.size):
            if not locked >> k & 1:
                continue
            for a in held:
                for index in range(r.size):
                    if index == k or not locked >> index & 1:
                        path = b"".join(label_path(r.tree(k, a), index))
                        data += bytes((k, a, index)) + r.piece(k, a, index) + path
        rows.append(
            {
                "bytes": hexed(data),
                "locked": word(locked),
                "position": position,
                "roundRow": number,
            }
        )
    return rows


def streams() -> list[Json]:
    numbers = (0, 1, 7, 8, 15, 63, 1_000_003, 2**29 - 1, 2**40 + 5)
    return [
        {"n": n, "seed": hexed(some(f"stream {i}")), "value": stream(some(f"stream {i}"), n)}
        for i in range(2)
        for n in numbers
    ]


def sums() -> list[Json]:
    """A coordinate of a result: ``included`` are indices by place, ``masked`` their values."""
    cases = [
        (0, [0, 1, 2, 3]),
        (0, [2, 0, 3]),
        (0, [3, 1, 0]),
        (1, [4, 3, 2, 1, 0]),
        (1, [3, 0, 4]),
        (2, [1, 2, 0]),
    ]
    rows = []
    for number, included in cases:
        r = ROUNDS[number]
        seeds = b"".join(r.opened(included))
        for n in (0, 7, 8, VALUES - 1):
            total, weight = r.sum_of(included, n), sum(r.weights[i] for i in included)
            limit = (32_767, 3_000, 1)[n % 3]
            rows.append(
                {
                    "commits": r.size,
                    "coordinate": n,
                    "included": included,
                    "masked": [r.masked(i, n) for i in included],
                    "roundRow": number,
                    "seeds": hexed(seeds),
                    "seedsHash": hexed(keccak(seeds)),
                    "step": max(-limit, min(limit, rounded(total, weight))),
                    "stepLimit": limit,
                    "sum": total,
                    "weight": weight,
                }
            )
    return rows


def steps() -> list[Json]:
    """The step rule at its limits, without masks."""
    cases = [(5, 1, 3), (-5, 1, 3), (-1, 2, 9), (1, 2, 9), (-3, 2, 9), (0, 255, 1)]
    cases += [(2**31 - 1, 22_440, 32_767), (-(2**31), 22_440, 32_767), (-(2**31), 3, 32_767)]
    cases += [(some_int(f"s {i}", -(2**31), 2**31 - 1), i + 3, 32_767) for i in range(6)]
    cases += [(some_int(f"t {i}", -9_999, 9_999), 3 * i + 3, 500) for i in range(6)]
    return [
        {
            "step": max(-limit, min(limit, rounded(total, weight))),
            "stepLimit": limit,
            "sum": total,
            "weight": weight,
        }
        for total, weight, limit in cases
    ]
