"""Golden vectors of the chunk tree (sections 4 and 10); the reference stores every chunk."""

from vectors.encoding import Json, hexed, keccak, some_int


def chunks(bits: int, tensors: list[list[int]], depth: int, *, packed: bool = False) -> list[bytes]:
    """The chunks of a vector: every tensor padded to 256 values (if not packed), all to 2^depth."""
    width, data = bits // 8, b""
    for values in tensors:
        data += b"".join(v.to_bytes(width, "little", signed=True) for v in values)
        if not packed:
            data += bytes(-len(data) % (256 * width))
    data += bytes(256 * width * 2**depth - len(data))
    return [data[i : i + 256 * width] for i in range(0, len(data), 256 * width)]


def levels(leaves: list[bytes]) -> list[list[bytes]]:
    tree = [[keccak(leaf) for leaf in leaves]]
    while len(tree[-1]) > 1:
        row = tree[-1]
        tree.append([keccak(row[i] + row[i + 1]) for i in range(0, len(row), 2)])
    return tree


def models() -> list[tuple[int, list[list[int]], int, bool]]:
    """(bits, tensors, depth, packed) of vectors with partial chunks, extremes and unused chunks."""
    padded = (((3,), 0), ((300, 1, 256), 2), ((5, 513), 5), ((700,), 11))
    packed = (((3, 250, 3), 0), ((300, 1, 256), 2), ((5, 0, 513), 5))
    shapes = [(bits, *model, False) for bits in (16, 32) for model in padded]
    shapes += [(bits, *model, True) for bits in (16, 32) for model in packed]
    made = []
    for bits, sizes, depth, is_packed in shapes:
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        tensors = [
            [some_int(f"{bits} {depth} {t} {i}", low, high) for i in range(size)]
            for t, size in enumerate(sizes)
        ]
        tensors[0][:3] = [low, high, -1]
        made.append((bits, tensors, depth, is_packed))
    return made


def vectors() -> list[Json]:
    rows = []
    for bits, tensors, depth, packed in models():
        rows.append(
            {
                "bits": bits,
                "depth": depth,
                "packed": packed,
                "root": hexed(levels(chunks(bits, tensors, depth, packed=packed))[-1][0]),
                "sizes": [len(values) for values in tensors],
                "values": [value for values in tensors for value in values],
            }
        )
    return rows


def proofs() -> list[Json]:
    """Paths of single chunks; ``vector`` is the index of their row in ``vectors``."""
    rows = []
    for vector, (bits, tensors, depth, packed) in enumerate(models()):
        leaves = chunks(bits, tensors, depth, packed=packed)
        tree = levels(leaves)
        indices = sorted({0, 1, 2**depth // 2, 2**depth - 1}) if depth else []
        rows += [
            {
                "bits": bits,
                "chunk": hexed(leaves[index]),
                "depth": depth,
                "index": index,
                "leaf": hexed(tree[0][index]),
                "proof": [hexed(tree[h][index >> h ^ 1]) for h in range(depth)],
                "root": hexed(tree[-1][0]),
                "vector": vector,
            }
            for index in indices
        ]
    return rows


def nodes() -> list[Json]:
    rows = []
    for vector, (bits, tensors, depth, packed) in enumerate(models()):
        leaves = chunks(bits, tensors, depth, packed=packed)
        for height, row in enumerate(levels(leaves)):
            rows += [
                {"height": height, "index": index, "node": hexed(row[index]), "vector": vector}
                for index in sorted({0, len(row) // 2, len(row) - 1})
            ]
    return rows


def zero_nodes() -> list[Json]:
    """The roots of vectors of zeros, for every depth."""
    rows = []
    for bits in (16, 32):
        node = keccak(bytes(256 * bits // 8))
        for height in range(22):
            rows.append({"bits": bits, "height": height, "node": hexed(node)})
            node = keccak(node + node)
    return rows


def masked_chunks(values: list[int], depth: int) -> list[bytes]:
    """The chunks of masked values, of 64 little-endian uint32: zeros from the last value on."""
    data = b"".join(v.to_bytes(4, "little") for v in values)
    data += bytes(1024 * 2**depth - len(data))
    return [data[i : i + 256] for i in range(0, len(data), 256)]


def masked_models() -> list[tuple[list[int], int]]:
    """(values, depth) of small masked updates: partial and unused chunks, extremes."""
    made = []
    for size, depth in ((3, 0), (256, 0), (257, 1), (700, 4)):
        values = [some_int(f"masked {size} {i}", 0, 2**32 - 1) for i in range(size)]
        values[:3] = [2**32 - 1, 2**31, 1]
        made.append((values, depth))
    return made


def masked_vectors() -> list[Json]:
    """Each ``depth`` is that of the model; the tree of masked values is two levels deeper."""
    return [
        {
            "depth": depth,
            "root": hexed(levels(masked_chunks(values, depth))[-1][0]),
            "values": values,
        }
        for values, depth in masked_models()
    ]


def masked_proofs() -> list[Json]:
    """Paths of single chunks; ``vector`` is the index of their row in ``maskedVectors``."""
    rows = []
    for vector, (values, depth) in enumerate(masked_models()):
        leaves = masked_chunks(values, depth)
        tree = levels(leaves)
        rows += [
            {
                "chunk": hexed(leaves[index]),
                "depth": depth,
                "index": index,
                "leaf": hexed(tree[0][index]),
                "proof": [hexed(tree[h][index >> h ^ 1]) for h in range(depth + 2)],
                "root": hexed(tree[-1][0]),
                "vector": vector,
            }
            for index in sorted({0, (len(values) - 1) // 64, len(leaves) - 1})
        ]
    return rows
