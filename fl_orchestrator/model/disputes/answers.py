"""The answers to demands: the nodes below the demanded one, or a chunk. It needs no NumPy.

Who only reads a chain checks them, and a command that does so is to start fast. Source:
docs/protocol.md, section 6; contracts/interfaces/IDisputes.sol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fl_orchestrator.model.keccak import HASH_BYTES, keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES

if TYPE_CHECKING:
    from fl_orchestrator.model.chunk_tree import Tree

LEVELS_PER_ANSWER: Final = 6
_INT32_BYTES: Final = 4
_CHUNK_BYTES: Final = CHUNK_VALUES * _INT32_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of the answer to a demand for the node (level, index): see `nodes_below`."""

    level: int
    index: int
    content: bytes


def levels_shown(level: int) -> int:
    """How many levels below a demanded node the nodes of its answer are."""
    return min(LEVELS_PER_ANSWER, level)


def nodes_below(tree: Tree, level: int, index: int) -> bytes:
    """The 2^min(6, level) nodes that an answer shows below the node (level, index), level > 0."""
    levels = levels_shown(level)
    first = index << levels
    return b"".join(tree.node(level - levels, first + i) for i in range(1 << levels))


def shown_content_hash(level: int, content: bytes) -> bytes | None:
    """The hash of the node of a state's tree that ``content`` is the answer for.

    None if ``content`` does not have the length of an answer at this level.
    """
    if level == 0:
        return keccak256(content) if len(content) == _CHUNK_BYTES else None
    if len(content) != HASH_BYTES << levels_shown(level):
        return None
    nodes = nodes_in(content)
    while len(nodes) > 1:
        nodes = [keccak256(a + b) for a, b in zip(nodes[::2], nodes[1::2], strict=True)]
    return nodes[0]


def shown_node(answer: Answer, level: int, index: int) -> bytes | None:
    """The hash of the node (level, index) in an answer; None if the answer does not contain it."""
    levels = levels_shown(answer.level)
    if not levels or level != answer.level - levels or index >> levels != answer.index:
        return None
    return nodes_in(answer.content)[index - (answer.index << levels)]


def nodes_in(content: bytes) -> list[bytes]:
    """The hashes in an answer that shows nodes, from the left."""
    return [content[i : i + HASH_BYTES] for i in range(0, len(content), HASH_BYTES)]


def path_above(tree: Tree, level: int, index: int) -> bytes:
    """The siblings from the node (level, index) up to the root."""
    return b"".join(
        tree.node(height, index >> height - level ^ 1) for height in range(level, tree.depth)
    )


def first_wrong_node(tree: Tree, answer: Answer) -> int | None:
    """The index, on its own level, of the first node of an answer that ``tree`` does not have.

    None if it has all of them. ``tree`` is the correct one; the nodes are ``levels_shown`` levels
    below the demanded one.
    """
    right = nodes_below(tree, answer.level, answer.index)
    first = answer.index << levels_shown(answer.level)
    for start in range(0, len(right), HASH_BYTES):
        if answer.content[start : start + HASH_BYTES] != right[start : start + HASH_BYTES]:
            return first + start // HASH_BYTES
    return None
