"""The tries of a development chain have the roots and the nodes of py-evm's own."""

import pytest
from eth.constants import BLANK_ROOT_HASH
from eth.db.account import AccountDB
from eth.db.atomic import AtomicDB
from eth_hash.auto import keccak
from eth_typing import Address
from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from fl_orchestrator.chain.nodes.evm import storage_trie
from fl_orchestrator.chain.nodes.evm.storage_trie import account_db

WHERE = Address(b"\x11" * 20)
# Short keys of few digits have paths in common, and short nodes are inside their parents.
_KEYS = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), min_size=3, max_size=3).map(bytes)
_VALUES = st.one_of(st.just(b""), st.binary(min_size=1, max_size=3), st.binary(min_size=40))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.tuples(_KEYS, _VALUES), max_size=8), max_size=8))
def test_a_trie_has_the_root_and_the_nodes_of_py_evms_own(
    batches: list[list[tuple[bytes, bytes]]],
) -> None:
    mine: storage_trie._Node | None = None
    nodes: dict[bytes, bytes] = {}
    own = HexaryTrie({})
    for batch in batches:
        for key, value in batch:
            own[key] = value
            path = key.hex()
            if not value:
                mine = None if mine is None else mine.remove(path)
            elif mine is None:
                mine = storage_trie._Leaf(path, value)
            else:
                mine = mine.insert(path, value)
        root = BLANK_ROOT_HASH if mine is None else mine.root(nodes)
        assert root == own.root_hash
        read = HexaryTrie(nodes, root) if mine is not None else HexaryTrie({})
        for key, _ in batch:
            assert (b"" if mine is None else mine.find(key.hex())) == own[key] == read[key]


_SLOTS = st.one_of(st.integers(0, 30), st.sampled_from([2**160, 2**256 - 1]))
_STEPS = st.one_of(
    st.tuples(st.just("set"), _SLOTS, st.sampled_from([0, 0, 1, 127, 128, 2**256 - 1])),
    st.tuples(st.sampled_from(["record", "discard", "lock", "root", "persist", "delete"])),
)


def run(accounts: AccountDB, steps: list[tuple[object, ...]]) -> list[object]:
    """Do the steps to an account's storage, and return what can be seen after each."""
    checkpoints = [accounts.record()]
    seen: list[object] = []
    for step in steps:
        match step:
            case ("set", int(slot), int(value)):
                accounts.set_storage(WHERE, slot, value)
            case ("record",):
                checkpoints.append(accounts.record())
            case ("discard",) if len(checkpoints) > 1:
                accounts.discard(checkpoints.pop())
            case ("delete",):
                accounts.delete_storage(WHERE)
            case ("lock" | "root" | "persist" as name,):
                for checkpoint in reversed(checkpoints):
                    accounts.commit(checkpoint)
                {
                    "lock": accounts.lock_changes,
                    "root": accounts.make_state_root,
                    "persist": accounts.persist,
                }[name]()
                checkpoints = [accounts.record()]
        seen.append([accounts.get_storage(WHERE, slot) for slot in range(31)])
        seen.append(accounts.state_root)
    return seen


@settings(max_examples=300, deadline=None)
@given(st.lists(_STEPS, max_size=40))
def test_a_storage_does_the_same_as_py_evms_own(steps: list[tuple[object, ...]]) -> None:
    steps = [*steps, ("persist",)]
    db = AtomicDB()
    mine, own = account_db()(db), AccountDB(AtomicDB())
    for accounts in (mine, own):
        accounts.set_nonce(WHERE, 1)
    assert run(mine, steps) == run(own, steps)
    # py-evm reads what was written.
    again = AccountDB(db, mine.state_root)
    for slot in range(31):
        assert again.get_storage(WHERE, slot) == mine.get_storage(WHERE, slot)


def test_a_storage_has_the_values_of_each_of_its_roots() -> None:
    db, kind = AtomicDB(), account_db()
    accounts = kind(db)
    roots = []
    for value in range(3):
        accounts.set_storage(WHERE, 5, value + 1)
        accounts.persist()
        roots.append(accounts.state_root)
    assert [kind(db, root).get_storage(WHERE, 5) for root in roots] == [1, 2, 3]


def test_a_node_is_hashed_once_for_all_writes_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []

    def counted(text: bytes) -> bytes:
        hashed.append(text)
        return bytes(keccak(text))

    accounts = account_db()(AtomicDB())
    for slot in range(200):
        accounts.set_storage(WHERE, slot, slot + 1)
    accounts.persist()
    monkeypatch.setattr(storage_trie, "keccak", counted)
    for slot in range(200):
        accounts.set_storage(WHERE, slot, slot + 2)
    accounts.persist()
    # The leaves, and the branches above them: the root, its 16, and some of their 256.
    assert 200 < len(hashed) < 200 + 1 + 16 + 64
