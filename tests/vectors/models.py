"""Golden vectors of the rules, the conversions, the files and the manifest (sections 3, 4, 10)."""

import hashlib
import struct
from base64 import b32encode
from itertools import pairwise

from vectors import arithmetic
from vectors.encoding import Json, hexed, keccak, some_address, some_int
from vectors.trees import chunks, levels, masked_chunks

INT16 = (-32_768, 32_767)
INT32 = (-(2**31), 2**31 - 1)


def rules() -> list[Json]:
    """``kind``: 0 weighted mean, 1 median, 2 trimmed mean; one coordinate in each row."""
    cases: list[tuple[list[int], list[int]]] = [
        ([5], [1]),
        ([-1, 0], [1, 1]),  # a half rounds up, towards plus infinity
        ([-2, -1], [1, 1]),
        ([1, 2], [1, 1]),
        ([-3, -2, -2], [1, 1, 2]),
        ([INT16[0]] * 100, [255] * 100),
        ([INT16[1]] * 100, [255] * 100),
        ([INT16[0], INT16[1]], [255, 1]),
        ([7, 7, 7, -7], [1, 2, 3, 255]),
    ]
    for size in (2, 3, 4, 5, 7, 10, 19, 64, 99, 100):
        for wide in (True, False):
            low, high = INT16 if wide else (-9, 9)
            values = [some_int(f"value {size} {wide} {i}", low, high) for i in range(size)]
            weights = [some_int(f"weight {size} {wide} {i}", 1, 255) for i in range(size)]
            cases.append((values, weights))
    rows = []
    for number, (values, weights) in enumerate(cases):
        for kind in range(3):
            trim = (1000, 4999, 0, 2500)[number % 4] if kind == 2 else 0
            rows.append(rule_row(number, kind, values, weights, trim))
    # trimBps just below and just above one value of three.
    rows += [rule_row(0, 2, [-100, 0, 7], [1, 1, 1], trim) for trim in (3333, 3334)]
    return rows


def rule_row(number: int, kind: int, values: list[int], weights: list[int], trim: int) -> Json:
    base = (0, INT32[0], INT32[1], some_int(f"base {number}", *INT32))[number % 4]
    fraction_bits = (15, 0, 24, 8)[(number + kind) % 4]
    step = (
        arithmetic.weighted_mean(values, weights),
        arithmetic.median(values),
        arithmetic.trimmed_mean(values, trim),
    )[kind]
    return {
        "aggregate": step,
        "base": base,
        "fractionBits": fraction_bits,
        "kind": kind,
        "next": arithmetic.next_state(base, step, fraction_bits),
        "trimBps": trim,
        "values": values,
        "weights": weights,
    }


def clips() -> list[Json]:
    """Chunks of updates, and what clipping by their norm makes of them; ``squares`` is the norm's.

    The chunk is as in an update's tree: 256 little-endian int16.
    """
    full = [[INT16[0]] * 256, [INT16[1]] * 256, [INT16[k % 2] for k in range(256)]]
    cases = [(values, limit) for values in full for limit in (1, 16, 2**18, 2**19 - 1)]
    legs = [300, -400] + [0] * 254  # a norm of 500
    cases += [(legs, limit) for limit in (499, 500, 501)]
    above = [300, -400, *[0] * 253, 1]  # a norm just above 500
    cases += [(above, limit) for limit in (499, 500, 501)]
    cases += [([0] * 256, 1), ([0] * 255 + [INT16[0]], 32_767), ([1] + [0] * 255, 1)]
    for size, limit in ((1, 9), (9, 70), (300, 2_000), (32_767, 16_384)):
        values = [some_int(f"clipped {size} {i}", -size, size) for i in range(256)]
        cases.append((values, limit))
    return [
        {
            "chunk": hexed(struct.pack("<256h", *values)),
            "clipped": arithmetic.clipped_chunk(values, limit),
            "limit": limit,
            "squares": sum(value**2 for value in values),
        }
        for values, limit in cases
    ]


def server_steps() -> list[Json]:
    """What a server makes of a step; one coordinate in each row."""
    rows = []
    rates = (10_000, 1, 3_333, 5_000, 15_000, 1_000_000)
    for number, momentum_bps in enumerate((0, 1, 5_000, 9_000, 9_999)):
        for place, rate_bps in enumerate(rates):
            for wide in (True, False):
                label = f"server {momentum_bps} {rate_bps} {wide}"
                low, high = INT32 if wide else (-9, 9)
                base, momentum = (some_int(f"{label} {part}", low, high) for part in "bm")
                if place == 5:
                    base, momentum = INT32[number % 2], INT32[wide]
                step = some_int(f"{label} step", *(INT16 if wide else (-3, 3)))
                fraction_bits = (15, 24, 0, 8, 23)[(number + place) % 5]
                following, moved = arithmetic.server_step(
                    base, momentum, step, fraction_bits, rate_bps, momentum_bps
                )
                rows.append(
                    {
                        "base": base,
                        "fractionBits": fraction_bits,
                        "learningRateBps": rate_bps,
                        "momentum": momentum,
                        "momentumBps": momentum_bps,
                        "next": following,
                        "nextMomentum": moved,
                        "step": step,
                    }
                )
    return rows


def sample_weights() -> list[Json]:
    cases = [(0, 1), (1, 1), (255, 1), (256, 1), (10**9, 7), (100, 10), (101, 10), (2541, 10)]
    return [
        {
            "samples": samples,
            "samplesPerWeight": unit,
            "weight": max(1, min(255, (samples + unit - 1) // unit)),
        }
        for samples, unit in cases
    ]


def bits64(value: float) -> str:
    return hexed(struct.pack(">d", value))


def conversions() -> list[Json]:
    """``weight``, ``local``: float64 bits; ``view``: float32 bits; o_l is ``offset``."""
    weights: tuple[float, ...] = (
        0.0,
        1.0,
        -1.0,
        0.1,
        -0.30000001192092896,
        127.99999999,
        -128.0,
        200.0,
        2**-25,
    )
    weights += (3 * 2**-25, 1e-30, -3.4e38, 1e300, 0.5 + 2**-25, 123456.789)
    rows = []
    for number, (weight, other) in enumerate(pairwise((*weights, 0.25))):
        for offset in (0, 3, -24, 96):
            fraction_bits = (15, 0, 24, 10)[number % 4]
            state = arithmetic.genesis(weight, offset)
            view = arithmetic.view(state, offset)
            local = view + other * 2.0**-offset
            update, clipped = arithmetic.encode(local, state, fraction_bits, offset)
            rows.append(
                {
                    "clipped": clipped,
                    "fractionBits": fraction_bits,
                    "local": bits64(local),
                    "offset": offset,
                    "state": state,
                    "update": update,
                    "view": hexed(struct.pack(">f", view)),
                    "weight": bits64(weight),
                }
            )
    return rows


# The model of the golden files, the same as in the manifest below: name, shape, o_l.
TENSORS: tuple[tuple[str, list[int], int], ...] = (
    ("dense/kernel", [3, 100], 0),
    ("dense/bias", [3], 2),
    ('é "\\€', [], -1),
)
DEPTH = 3
MANIFEST = (
    '{"depth":3,"features":{"mean":[0,-1.5,1e+21],"scale":[1,0.001,1e-7]},'
    '"name":"Golden","purpose":"Pins € and \\n","rule":{"kind":"trimmed-mean","trimBps":1000},'
    '"samplesPerWeight":9007199254740991,"schema":"three columns","tensors":['
    '{"name":"dense/kernel","offset":0,"shape":[3,100]},'
    '{"name":"dense/bias","offset":2,"shape":[3]},'
    '{"name":"é \\"\\\\€","offset":-1,"shape":[]}],'
    '"training":{"batchSize":32,"epochs":1,"learningRate":0.001,'
    '"loss":"binary_crossentropy","metrics":["accuracy"],"optimizer":"adam"},'
    '"updateFractionBits":15,"version":1}'
)


PACKED = MANIFEST.replace('"name":"Golden"', '"layout":"packed","name":"Golden"')


MOVING = MANIFEST.replace(
    '"kind":"trimmed-mean",',
    '"kind":"trimmed-mean","serverLearningRateBps":5000,"serverMomentumBps":9000,',
)


def manifests() -> list[Json]:
    """The manifest of the padded layout, that of the packed one, and one with momentum."""
    return [
        {"digest": hexed(hashlib.sha256(text.encode()).digest()), "json": text}
        for text in (MANIFEST, PACKED, MOVING)
    ]


def files() -> list[Json]:
    """Canonical files of both manifests' models; ``cid`` is that of a raw leaf.

    The layout changes the root, but not the bytes of a file.
    """
    rows = []
    cases = (("global", 32, 0), ("global", 32, 9), ("update", 16, 2**64 - 1))
    for manifest, (kind, bits, number) in ((m, case) for m in (0, 1, 2) for case in cases):
        federation = some_address("federation 1") if number else "0x" + "0" * 40
        chain = 31337 if number else 0
        limits = INT32 if bits == 32 else INT16
        tensors = [
            [some_int(f"{kind} {name} {i}", *limits) for i in range(size)]
            for (name, _, _), size in zip(TENSORS, (300, 3, 1), strict=True)
        ]
        momentum = manifest == 2 and kind == "global"
        moving = [
            [some_int(f"momentum {name} {i}", *limits) for i in range(size)]
            for (name, _, _), size in zip(TENSORS, (300, 3, 1), strict=momentum)
            if momentum
        ]
        data = file_bytes(kind, bits, chain, federation, number, tensors, moving)
        root = levels(chunks(bits, tensors, DEPTH, packed=manifest == 1))[-1][0]
        if momentum:
            root = keccak(root + levels(chunks(bits, moving, DEPTH))[-1][0])
        rows.append(
            {
                "bytes": hexed(data),
                "chainId": chain,
                "cid": raw_cid(data),
                "federation": federation,
                "kind": kind,
                "manifest": manifest,
                "root": hexed(root),
                "round": str(number),
                "sha256": hexed(hashlib.sha256(data).digest()),
                "values": [value for values in tensors + moving for value in values],
            }
        )
    return rows


def raw_cid(data: bytes) -> str:
    """The CIDv1 of a block: raw, sha2-256, in base32."""
    content = bytes((1, 0x55, 0x12, 0x20)) + hashlib.sha256(data).digest()
    return "b" + b32encode(content).decode().rstrip("=").lower()


def masked_files() -> list[Json]:
    """Canonical files of masked updates; ``root`` is that of the values, without the seal."""
    rows = []
    for size, depth, seal_bytes, number in ((3, 0, 65, 1), (700, 4, 1000, 2**32 - 1)):
        values = [some_int(f"masked file {i}", 0, 2**32 - 1) for i in range(size)]
        seal = bytes(some_int(f"seal {i}", 0, 255) for i in range(seal_bytes))
        federation = some_address("federation 1")
        end = 4 * size
        text = (
            f'{{"__metadata__":{{"chainId":"31337","federation":"{federation}",'
            f'"kind":"masked","round":"{number}"}},'
            f'"masked":{{"dtype":"U32","shape":[{size}],"data_offsets":[0,{end}]}},'
            f'"seal":{{"dtype":"U8","shape":[{seal_bytes}],'
            f'"data_offsets":[{end},{end + seal_bytes}]}}}}'
        ).encode()
        text += b" " * (-len(text) % 8)
        data = struct.pack("<Q", len(text)) + text
        data += b"".join(v.to_bytes(4, "little") for v in values) + seal
        rows.append(
            {
                "bytes": hexed(data),
                "chainId": 31337,
                "cid": raw_cid(data),
                "depth": depth,
                "federation": federation,
                "root": hexed(levels(masked_chunks(values, depth))[-1][0]),
                "round": str(number),
                "seal": hexed(seal),
                "values": values,
            }
        )
    return rows


def file_bytes(
    kind: str,
    bits: int,
    chain: int,
    federation: str,
    number: int,
    tensors: list[list[int]],
    momentum: list[list[int]],
) -> bytes:
    width, end = bits // 8, 0
    header = (
        f'{{"__metadata__":{{"chainId":"{chain}","federation":"{federation}",'
        f'"kind":"{kind}","round":"{number}"}}'
    )
    names = ("dense/kernel", "dense/bias", 'é \\"\\\\€')
    for name, (_, shape, _), values in zip(names, TENSORS, tensors, strict=True):
        start, end = end, end + len(values) * width
        sizes = ",".join(str(size) for size in shape)
        header += (
            f',"{name}":{{"dtype":"I{bits}","shape":[{sizes}],"data_offsets":[{start},{end}]}}'
        )
    if momentum:
        size = sum(len(values) for values in momentum)
        offsets = f"[{end},{end + size * width}]"
        header += f',"__momentum__":{{"dtype":"I{bits}","shape":[{size}],"data_offsets":{offsets}}}'
    text = (header + "}").encode()
    text += b" " * (-len(text) % 8)
    numbers = (v for t in tensors + momentum for v in t)
    data = b"".join(v.to_bytes(width, "little", signed=True) for v in numbers)
    return struct.pack("<Q", len(text)) + text + data
