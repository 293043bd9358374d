"""The storage of contracts in tries that stay in memory from block to block.

py-evm reads a slot through the encoded nodes of its trie, and writes a trie anew for each slot of a
transaction. Here a trie is made of nodes that never change: a write makes new ones along its path,
and shares the others with the trie before it. A node is encoded and hashed at most once, when a
root is needed, so not for each write. As in py-evm's own database in memory, no trie is dropped.

Merkle Patricia tries: yellow paper, appendix D; the keys are hashes of slots.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any, Final

import rlp  # type: ignore[import-untyped]
from eth.abc import AccountStorageDatabaseAPI, DatabaseAPI
from eth.constants import BLANK_ROOT_HASH
from eth.db.account import AccountDB
from eth.db.backends.base import BaseDB
from eth.db.storage import AccountStorageDB
from eth.rlp.accounts import Account
from eth_hash.auto import keccak
from eth_typing import Address, Hash32
from rlp.codec import encode_raw, length_prefix  # type: ignore[import-untyped]

_NODE_HASH_BYTES: Final = 32
_DIGITS: Final = "0123456789abcdef"
_EMPTY: Final = bytes(encode_raw(b""))
# What the length of a list is added to (yellow paper, appendix B).
_LIST: Final = 0xC0
# The hashes of so many slots, and so many accounts, are kept.
_MOST_SLOTS: Final = 1 << 16
_MOST_ACCOUNTS: Final = 1 << 12

# The new nodes of a trie, by their hashes.
_Nodes = dict[bytes, bytes]


class _Node(ABC):
    """A part of a trie. Paths are hexadecimal digits."""

    __slots__ = ("_link",)

    def __init__(self) -> None:
        self._link = b""

    def link(self, new: _Nodes) -> bytes:
        """What its parent has of it, as RLP: its hash, or the node itself if that is shorter.

        Each node from here on that was not hashed before goes to ``new``.
        """
        if not self._link:
            encoded = self._link = _list(self._payload(new))
            if len(encoded) >= _NODE_HASH_BYTES:
                digest = keccak(encoded)
                new[digest] = encoded
                self._link = _string(digest)
        return self._link

    def root(self, new: _Nodes) -> Hash32:
        """Its hash as the root of a trie, whatever its length."""
        link = self.link(new)
        if len(link) == 1 + _NODE_HASH_BYTES:
            return Hash32(link[1:])
        digest = keccak(link)
        new[digest] = link
        return Hash32(digest)

    @abstractmethod
    def _payload(self, new: _Nodes) -> bytes: ...

    @abstractmethod
    def find(self, path: str) -> bytes:
        """The value at a path; b"" without one."""

    @abstractmethod
    def insert(self, path: str, value: bytes) -> _Node:
        """The trie with another value at a path."""

    @abstractmethod
    def remove(self, path: str) -> _Node | None:
        """The trie without a value at a path; the same if there is none."""

    def behind(self, path: str) -> _Node:
        """The trie with a path before it."""
        return _Extension(path, self) if path else self


class _Leaf(_Node):
    __slots__ = ("_path", "_value")

    def __init__(self, path: str, value: bytes) -> None:
        super().__init__()
        self._path, self._value = path, value

    def _payload(self, _new: _Nodes) -> bytes:
        return _string(_compact(self._path, 2)) + _string(self._value)

    def find(self, path: str) -> bytes:
        return self._value if path == self._path else b""

    def insert(self, path: str, value: bytes) -> _Node:
        if path == self._path:
            return _Leaf(path, value)
        same = _common(path, self._path)
        own = _Leaf(self._path[same + 1 :], self._value)
        return _forked(path, value, same, self._path[same], own)

    def remove(self, path: str) -> _Node | None:
        return None if path == self._path else self

    def behind(self, path: str) -> _Node:
        return _Leaf(path + self._path, self._value)


class _Extension(_Node):
    """A path that all keys below have; a branch follows it."""

    __slots__ = ("_child", "_path")

    def __init__(self, path: str, child: _Node) -> None:
        super().__init__()
        self._path, self._child = path, child

    def _payload(self, new: _Nodes) -> bytes:
        return _string(_compact(self._path, 0)) + self._child.link(new)

    def find(self, path: str) -> bytes:
        return self._child.find(path[len(self._path) :]) if path.startswith(self._path) else b""

    def insert(self, path: str, value: bytes) -> _Node:
        same = _common(path, self._path)
        if same == len(self._path):
            return _Extension(self._path, self._child.insert(path[same:], value))
        own = self._child.behind(self._path[same + 1 :])
        return _forked(path, value, same, self._path[same], own)

    def remove(self, path: str) -> _Node | None:
        if not path.startswith(self._path):
            return self
        left = self._child.remove(path[len(self._path) :])
        return self if left is self._child or left is None else left.behind(self._path)

    def behind(self, path: str) -> _Node:
        return _Extension(path + self._path, self._child)


class _Branch(_Node):
    """At least two parts, by the next digit. It has no value: all keys have the same length."""

    __slots__ = ("_children",)

    def __init__(self, children: dict[str, _Node]) -> None:
        super().__init__()
        self._children = children

    def _payload(self, new: _Nodes) -> bytes:
        children = self._children
        links = [children[one].link(new) if one in children else _EMPTY for one in _DIGITS]
        return b"".join(links) + _EMPTY

    def find(self, path: str) -> bytes:
        child = self._children.get(path[0])
        return b"" if child is None else child.find(path[1:])

    def insert(self, path: str, value: bytes) -> _Node:
        child = self._children.get(path[0])
        made = _Leaf(path[1:], value) if child is None else child.insert(path[1:], value)
        return _Branch({**self._children, path[0]: made})

    def remove(self, path: str) -> _Node | None:
        child = self._children.get(path[0])
        left = None if child is None else child.remove(path[1:])
        if left is child:
            return self
        children = {**self._children}
        if left is not None:
            children[path[0]] = left
            return _Branch(children)
        del children[path[0]]
        if len(children) > 1:
            return _Branch(children)
        [(digit, only)] = children.items()
        return only.behind(digit)


def _forked(path: str, value: bytes, same: int, digit: str, other: _Node) -> _Node:
    """A branch of a new value and what was there, after ``same`` digits of the new path."""
    leaf = _Leaf(path[same + 1 :], value)
    return _Branch({path[same]: leaf, digit: other}).behind(path[:same])


def _common(a: str, b: str) -> int:
    """How many digits two paths of the same key length begin with in common."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))


# ---------------------------------------------------------------------- encoding


def _string(text: bytes) -> bytes:
    return bytes(encode_raw(text))


def _list(payload: bytes) -> bytes:
    """A list of items that are encoded already."""
    return bytes(length_prefix(len(payload), _LIST)) + payload


def _compact(path: str, kind: int) -> bytes:
    """A path with its kind, 2 for a leaf and 0 for an extension (yellow paper, appendix C)."""
    return bytes.fromhex(f"{kind + 1}{path}" if len(path) % 2 else f"{kind}0{path}")


# ---------------------------------------------------------------------- py-evm


@functools.lru_cache(_MOST_SLOTS)
def _path(slot: bytes) -> str:
    """The path of a slot, which py-evm has without leading zeros."""
    return keccak(slot.rjust(_NODE_HASH_BYTES, b"\0")).hex()


@functools.lru_cache(_MOST_ACCOUNTS)
def _account(encoded: bytes) -> Account:
    """An account; nobody changes it. py-evm decodes the same ones many times in a transaction."""
    return rlp.decode(encoded, sedes=Account) if encoded else Account()


class _Slots(BaseDB):
    """A contract's slots, as py-evm's ``StorageLookup`` has them, from a trie of ``tries``."""

    def __init__(self, tries: dict[bytes, _Node | None], root: Hash32) -> None:
        self._tries = tries
        self._trie = tries[root]
        self._root: Hash32 | None = None
        self._new: _Nodes = {}
        # The tries before the contract was deleted; py-evm counts the deletions.
        self._deleted: list[_Node | None] = []
        self.has_changed_root = False

    def __getitem__(self, slot: bytes) -> bytes:
        return b"" if self._trie is None else self._trie.find(_path(slot))

    def __setitem__(self, slot: bytes, value: bytes) -> None:
        path = _path(slot)
        self._change(_Leaf(path, value) if self._trie is None else self._trie.insert(path, value))

    def __delitem__(self, slot: bytes) -> None:
        self._change(None if self._trie is None else self._trie.remove(_path(slot)))

    def _change(self, trie: _Node | None) -> None:
        self._trie, self._root, self.has_changed_root = trie, None, True

    def get_changed_root(self) -> Hash32:
        if self._root is None:
            self._root = BLANK_ROOT_HASH if self._trie is None else self._trie.root(self._new)
        return self._root

    def commit_to(self, db: DatabaseAPI) -> None:
        self._tries[self.get_changed_root()] = self._trie
        for digest, node in self._new.items():
            db[digest] = node
        self._new = {}
        self.has_changed_root = False
        self._deleted.clear()

    def new_trie(self) -> int:
        self._deleted.append(self._trie)
        self._change(None)
        return len(self._deleted)

    def rollback_trie(self, index: int) -> None:
        self._change(self._deleted[index])
        del self._deleted[index:]


def account_db() -> type[AccountDB]:
    """The class of a chain's accounts, which has the tries of all storages that the chain had."""
    tries: dict[bytes, _Node | None] = {BLANK_ROOT_HASH: None}

    class _Accounts(AccountDB):
        def _get_address_store(self, address: Address) -> AccountStorageDatabaseAPI:
            if address not in self._account_stores:
                root = self._get_storage_root(address)
                store: Any = AccountStorageDB(self._raw_store_db, root, address)
                # py-evm's journal and cache stay above it.
                store._storage_lookup = store._storage_cache._db = _Slots(tries, root)
                self._account_stores[address] = store
            return self._account_stores[address]

        def _get_account(self, address: Address, from_journal: bool = True) -> Account:
            if from_journal and address in self._account_cache:
                return self._account_cache[address]
            account = _account(self._get_encoded_account(address, from_journal))
            if from_journal:
                self._account_cache[address] = account
            return account

        def touch_account(self, address: Address) -> None:
            encoded = self._get_encoded_account(address)
            if encoded:
                self._journaltrie[address] = encoded
            else:
                super().touch_account(address)

    return _Accounts
