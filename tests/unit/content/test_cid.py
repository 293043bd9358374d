"""CIDs: their text, and the tree of docs/protocol.md, section 10."""

import base64
import hashlib
import io
import tracemalloc
from pathlib import Path

import pytest
from cid_vectors import VectorFile, cid_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_orchestrator.content import cid as cid_module
from fl_orchestrator.content.cid import DAG_PB, RAW, Cid, CidError, CidHasher, cid_of, cid_of_file
from fl_orchestrator.errors import ContentError

HELLO = Cid(hashlib.sha256(b"hello").digest(), RAW)

cids = st.builds(Cid, st.binary(min_size=32, max_size=32), st.sampled_from([RAW, DAG_PB]))


def base32(data: bytes) -> str:
    return "b" + base64.b32encode(data).decode().rstrip("=").lower()


@given(cids)
def test_a_cid_is_read_back_from_its_text(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid


def test_the_text_of_a_cid_is_the_one_ipfs_prints() -> None:
    assert str(HELLO) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a CID"),
        ("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "CIDv0"),
        ("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA", "base58"),
        (str(HELLO).upper(), "upper case"),
        (str(HELLO)[:-1], "not a CID"),
        (str(HELLO) + "a", "not a CID"),
        (str(HELLO) + "\n", "not a CID"),
        (" " + str(HELLO), "not a CID"),
        (str(HELLO) + "\0", "not a CID"),
        (str(HELLO)[:-1] + "r", "not canonical"),
        ("ipfs://" + str(HELLO), "not a CID"),
        (f"/ipfs/{HELLO}", "not a CID"),
        ("../" * 20, "not a CID"),
        ("b/../../../../../../../../../../../../../../../../etc/passwd", "not a CID"),
        (("b$(touch pwned)" + "a" * 59)[:59], "not a CID"),
        (("b;rm -rf ~;" + "a" * 59)[:59], "not a CID"),
        ("b" + "١" * 58, "not a CID"),
        pytest.param("b" * 1_000_000, "not a CID", id="a megabyte"),
        (base32(bytes((0, RAW, 0x12, 32)) + HELLO.digest), "version 0"),
        (base32(bytes((1, 0x71, 0x12, 32)) + HELLO.digest), "codec 0x71"),
        (base32(bytes((1, RAW, 0x16, 32)) + HELLO.digest), "not hold a 32-byte sha2-256"),
        (base32(bytes((1, RAW, 0x12, 31)) + HELLO.digest), "not hold a 32-byte sha2-256"),
    ],
)
def test_a_text_that_is_not_a_cid_of_the_protocol_is_refused(text: str, reason: str) -> None:
    with pytest.raises(CidError, match=reason) as caught:
        Cid.parse(text)
    assert isinstance(caught.value, ContentError)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@given(st.text(max_size=80))
def test_any_text_is_either_the_one_spelling_of_a_cid_or_refused(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except CidError:
        return
    assert str(cid) == text


@given(cids, st.integers(0, 58), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_letter_never_names_the_same_content(
    cid: Cid, position: int, letter: str
) -> None:
    text = str(cid)
    changed = text[:position] + letter + text[position + 1 :]
    try:
        parsed = Cid.parse(changed)
    except CidError:
        return
    assert (parsed == cid) == (changed == text)


@pytest.mark.parametrize(
    ("digest", "codec"),
    [
        (b"", RAW),
        (bytes(31), RAW),
        (bytes(33), RAW),
        (bytearray(32), RAW),
        ("0" * 32, RAW),
        (bytes(32), 0x71),
        (bytes(32), 0),
        (bytes(32), True),
        (bytes(32), 85.0),
    ],
)
def test_values_that_are_not_a_cid_of_the_protocol_are_refused(digest: bytes, codec: int) -> None:
    with pytest.raises(CidError):
        Cid(digest, codec)


@pytest.mark.parametrize("size", cid_vectors())
def test_the_cid_of_a_file_is_the_one_kubo_gives(size: int) -> None:
    assert str(cid_of(io.BufferedReader(VectorFile(size)))) == cid_vectors()[size]


@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (4 << 20) + 1, (12 << 20) - 1, 12 << 20])
def test_the_cid_of_a_file_on_disk_is_the_same_on_any_number_of_cores(
    size: int, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cid_module, "cores", lambda: cores)
    content = hashlib.shake_128(b"file").digest(size)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert cid_of_file(file.fileno()) == cid_of(io.BytesIO(content))


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=1000), st.lists(st.integers(1, 300_000), min_size=1, max_size=20))
def test_the_cid_does_not_depend_on_how_the_bytes_arrive(seed: bytes, pieces: list[int]) -> None:
    content = hashlib.shake_128(seed).digest(sum(pieces))
    hasher = CidHasher()
    start = 0
    for piece in pieces:
        hasher.update(memoryview(content)[start : start + piece])
        start += piece
    assert hasher.cid() == cid_of(io.BytesIO(content))


def test_asking_for_the_cid_does_not_change_it() -> None:
    hasher = CidHasher()
    for _ in range(3):
        hasher.update(bytes(700_000))
        assert hasher.cid() == hasher.cid()
    assert hasher.cid() == cid_of(io.BytesIO(bytes(2_100_000)))


def leaves_to_root(content: bytes, chunk: int) -> Cid:
    """The tree built at once, level by level, instead of as the bytes arrive."""
    chunks = [content[i : i + chunk] for i in range(0, len(content), chunk)] or [b""]
    nodes = [
        cid_module._Link(Cid(hashlib.sha256(leaf).digest(), RAW), len(leaf), len(leaf))
        for leaf in chunks
    ]
    while len(nodes) > 1:
        nodes = [cid_module._parent(nodes[i : i + 174]) for i in range(0, len(nodes), 174)]
    return nodes[0].cid


def assert_tree_is_right(leaves: int, last: int) -> None:
    content = hashlib.shake_128(b"tree").digest(max(0, 8 * leaves - 8 + last))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cid_module, "CHUNK_BYTES", 8)
        assert cid_of(io.BytesIO(content)) == leaves_to_root(content, 8)


@settings(max_examples=25, deadline=None)
@given(leaves=st.integers(0, 1000), last=st.integers(1, 8))
def test_a_tree_of_some_levels_is_balanced(leaves: int, last: int) -> None:
    assert_tree_is_right(leaves, last)


@pytest.mark.parametrize("leaves", [173, 174, 175, 348, 349, 174**2 - 1, 174**2, 174**2 + 1])
def test_every_level_of_the_tree_holds_at_most_174_links(leaves: int) -> None:
    assert_tree_is_right(leaves, last=8)


def test_memory_does_not_grow_with_the_file() -> None:
    tracemalloc.start()
    try:
        cid_of(io.BufferedReader(VectorFile(24 << 20)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
