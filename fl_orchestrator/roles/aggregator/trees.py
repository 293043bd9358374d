"""A cache of the chunk trees of demanded models, and access to single chunks of their files."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from fl_orchestrator.model.chunk_tree import Tree
from fl_orchestrator.model.disputes.proof import read_chunk
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import read_tree
from fl_orchestrator.roles.vectors import VectorFile, require_root

# Leaves of all trees in memory, of 64 bytes each; there is always room for one tree.
_MAX_LEAVES: Final = 1 << 20


class Trees:
    """A cache of the trees used last: a flood of demands needs the same trees repeatedly."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._most = max(1, _MAX_LEAVES >> layout.state_depth)
        self._trees: OrderedDict[bytes, Tree] = OrderedDict()

    def of(self, file: VectorFile) -> Tree:
        """The tree of a file. Raises RootMismatch when the file was damaged on this disk."""
        tree = self._trees.get(file.root)
        if tree is None:
            with file.path.open("rb") as stream:
                tree = read_tree(stream, self._layout, file.meta)
            require_root(file, tree.root)
            self._trees[file.root] = tree
            if len(self._trees) > self._most:
                self._trees.popitem(last=False)
        self._trees.move_to_end(file.root)
        return tree

    def chunk(self, file: VectorFile, index: int) -> bytes:
        """One chunk of a file; the rest of the file is not read. Raises RootMismatch."""
        tree = self.of(file)
        with file.path.open("rb") as stream:
            chunk = read_chunk(stream, self._layout, file.meta, index)
        damaged = keccak256(chunk) != tree.node(0, index)
        require_root(file, b"" if damaged else file.root)
        return chunk
