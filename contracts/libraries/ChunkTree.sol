// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The binary keccak256 tree over the chunks of a vector
/// @notice A vector is cut into chunks of 256 little-endian values and padded to exactly 2^depth chunks.
/// `leaf = keccak256(chunk)`, `node = keccak256(left || right)`. See docs/protocol.md, section 4.
/// @dev A leaf hashes 512 or 1,024 bytes and a node hashes 64 bytes, so a node cannot be presented as a leaf.
library ChunkTree {
    /// @notice Values in a chunk.
    uint256 internal constant CHUNK_VALUES = 256;

    /// @dev Of each 16 bits of a word, the lowest 8, and the lowest one. (The division is exact.)
    // slither-disable-next-line divide-before-multiply
    uint256 private constant LOW_BYTES = type(uint256).max / 0xffff * 0xff;
    uint256 private constant LOW_BITS = type(uint256).max / 0xffff;
    /// @dev 16 bits, and the 16 bits that are 64 bits above.
    uint256 private constant PAIR = 0xffff << 64 | 0xffff;

    error IndexOutOfTree(uint256 index, uint256 depth);
    error WrongChunkLength(uint256 length);
    error WrongProofLength(uint256 length);

    /// @notice The leaf of a chunk of 256 values of `valueBytes` bytes each.
    function leafOf(bytes calldata chunk, uint256 valueBytes) internal pure returns (bytes32) {
        if (chunk.length != CHUNK_VALUES * valueBytes) revert WrongChunkLength(chunk.length);
        return keccak256(chunk);
    }

    /// @notice The root of a tree of this depth in which `node` has this index among its level's nodes, given
    /// the node's siblings on the way up.
    /// @param depth The number of levels above the node: the depth of the tree, when the node is a leaf.
    /// @param siblings Exactly `depth` hashes, packed, from the node upwards.
    function rootOf(bytes32 node, uint256 index, uint256 depth, bytes calldata siblings)
        internal
        pure
        returns (bytes32)
    {
        if (siblings.length != 32 * depth) revert WrongProofLength(siblings.length);
        if (index >> depth != 0) revert IndexOutOfTree(index, depth);
        for (uint256 level = 0; level < depth; ++level) {
            bytes32 sibling = bytes32(siblings[32 * level:]);
            bool siblingIsLeft = (index >> level) & 1 == 1;
            node = siblingIsLeft ? _hash(sibling, node) : _hash(node, sibling);
        }
        return node;
    }

    /// @notice The root of the subtree whose `2^levels` lowest nodes are these, packed from the left.
    function subtreeRoot(bytes calldata nodes, uint256 levels) internal pure returns (bytes32) {
        if (nodes.length != 32 << levels) revert WrongProofLength(nodes.length);
        bytes32[] memory level = new bytes32[](1 << levels);
        for (uint256 i = 0; i < level.length; ++i) {
            level[i] = bytes32(nodes[32 * i:]);
        }
        for (uint256 width = level.length / 2; width > 0; width /= 2) {
            for (uint256 i = 0; i < width; ++i) {
                level[i] = _hash(level[2 * i], level[2 * i + 1]);
            }
        }
        return level[0];
    }

    /// @notice The length of a chunk of values of `valueBytes` bytes with its path.
    function proofLength(uint256 valueBytes, uint256 depth) internal pure returns (uint256) {
        return CHUNK_VALUES * valueBytes + 32 * depth;
    }

    /// @notice The root of a vector of zeros, of `valueBytes` bytes each.
    function zeroRoot(uint256 valueBytes, uint256 depth) internal pure returns (bytes32 node) {
        node = keccak256(new bytes(CHUNK_VALUES * valueBytes));
        for (uint256 level = 0; level < depth; ++level) {
            node = _hash(node, node);
        }
    }

    /// @notice The int16 at a coordinate, and the root of the tree that has it there.
    /// @param proof Begins with the chunk with the coordinate and its siblings.
    function openInt16(bytes calldata proof, uint256 coordinate, uint256 depth)
        internal
        pure
        returns (bytes32 root, int256 value)
    {
        bytes calldata chunk = proof[:CHUNK_VALUES * 2];
        root =
            rootOf(leafOf(chunk, 2), coordinate / CHUNK_VALUES, depth, proof[CHUNK_VALUES * 2:][:32 * depth]);
        value = int16At(chunk, coordinate % CHUNK_VALUES);
    }

    /// @notice The int32 at a coordinate, and the root of the tree that has it there.
    /// @param proof Begins with the chunk with the coordinate and its siblings.
    function openInt32(bytes calldata proof, uint256 coordinate, uint256 depth)
        internal
        pure
        returns (bytes32 root, int256 value)
    {
        bytes calldata chunk = proof[:CHUNK_VALUES * 4];
        root =
            rootOf(leafOf(chunk, 4), coordinate / CHUNK_VALUES, depth, proof[CHUNK_VALUES * 4:][:32 * depth]);
        value = int32At(chunk, coordinate % CHUNK_VALUES);
    }

    /// @notice The square of the L2 norm of a chunk of int16: the sum of its 256 squares, at most 2^38.
    /// @dev A challenge computes it for each update. Below the price of the bytes (EIP-7623) computation costs nothing,
    /// and two values of a word are squared at a time to stay there: the square of `a + 2^64 b` has a^2 in its lowest
    /// 64 bits, then 2ab, then b^2. Sums of all such squares do not meet either, since |a| and |b| are at most 2^15.
    function squaresOf(bytes calldata chunk) internal pure returns (uint256) {
        if (chunk.length != CHUNK_VALUES * 2) revert WrongChunkLength(chunk.length);
        uint256 pairs = 0;
        // No sum carries into the one beside it: 128 squares of at most 2^30, and 128 double products below 2^32.
        unchecked {
            for (uint256 offset = 0; offset < CHUNK_VALUES * 2; offset += 32) {
                uint256 word;
                assembly ("memory-safe") {
                    word := calldataload(add(chunk.offset, offset))
                }
                // From little-endian to big-endian, and then to absolute values: -v is ~v + 1.
                word = (word & LOW_BYTES) << 8 | (word >> 8) & LOW_BYTES;
                uint256 negative = (word >> 15) & LOW_BITS;
                word = (word ^ negative * 0xffff) + negative;
                pairs += _squares(word) + _squares(word >> 16) + _squares(word >> 32) + _squares(word >> 48);
                word >>= 128;
                pairs += _squares(word) + _squares(word >> 16) + _squares(word >> 32) + _squares(word >> 48);
            }
        }
        return (pairs & type(uint64).max) + (pairs >> 128);
    }

    /// @dev Of the lowest 16 bits, and of those 64 bits above: see {squaresOf}.
    function _squares(uint256 word) private pure returns (uint256) {
        uint256 pair = word & PAIR;
        // Both are at most 2^15.
        unchecked {
            return pair * pair;
        }
    }

    /// @notice The int16 at a position of a chunk.
    function int16At(bytes calldata chunk, uint256 position) internal pure returns (int256) {
        uint256 offset = 2 * position;
        uint256 low = uint8(chunk[offset]);
        uint256 high = uint8(chunk[offset + 1]);
        return int16(uint16(high << 8 | low));
    }

    /// @notice The int32 at a position of a chunk.
    function int32At(bytes calldata chunk, uint256 position) internal pure returns (int256) {
        uint256 offset = 4 * position;
        uint256 word = 0;
        for (uint256 i = 0; i < 4; ++i) {
            word |= uint256(uint8(chunk[offset + i])) << (8 * i);
        }
        return int32(uint32(word));
    }

    /// @dev Hashes in the scratch space, because `abi.encode` would allocate memory at every level.
    function _hash(bytes32 left, bytes32 right) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            node := keccak256(0x00, 0x40)
        }
    }
}
