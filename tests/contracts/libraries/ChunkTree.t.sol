// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ChunkTree} from "../../../contracts/libraries/ChunkTree.sol";
import {GoldenTest} from "../support/GoldenTest.sol";
import {Vectors} from "../support/Vectors.sol";

/// @dev The library takes calldata.
contract ChunkTreeCaller {
    function leafOf(bytes calldata chunk, uint256 valueBytes) external pure returns (bytes32) {
        return ChunkTree.leafOf(chunk, valueBytes);
    }

    function rootOf(bytes32 node, uint256 index, uint256 depth, bytes calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return ChunkTree.rootOf(node, index, depth, siblings);
    }

    function subtreeRoot(bytes calldata nodes, uint256 levels) external pure returns (bytes32) {
        return ChunkTree.subtreeRoot(nodes, levels);
    }

    function openInt16(bytes calldata proof, uint256 coordinate, uint256 depth)
        external
        pure
        returns (bytes32, int256)
    {
        return ChunkTree.openInt16(proof, coordinate, depth);
    }

    function openInt32(bytes calldata proof, uint256 coordinate, uint256 depth)
        external
        pure
        returns (bytes32, int256)
    {
        return ChunkTree.openInt32(proof, coordinate, depth);
    }

    function squaresOf(bytes calldata chunk) external pure returns (uint256) {
        return ChunkTree.squaresOf(chunk);
    }

    function squaresWithin(bytes calldata data, uint256 start) external pure returns (uint256) {
        return ChunkTree.squaresOf(data[start:][:512]);
    }

    function int16At(bytes calldata chunk, uint256 position) external pure returns (int256) {
        return ChunkTree.int16At(chunk, position);
    }

    function int32At(bytes calldata chunk, uint256 position) external pure returns (int256) {
        return ChunkTree.int32At(chunk, position);
    }
}

/// @notice See ChunkTree.tree.
contract ChunkTreeTest is GoldenTest {
    struct Proof {
        uint256 bits;
        bytes chunk;
        uint256 depth;
        uint256 index;
        bytes32 leaf;
        bytes32[] proof;
        bytes32 root;
        uint256 vector;
    }

    struct Vector {
        uint256 bits;
        uint256 depth;
        bool packed;
        bytes32 root;
        uint256[] sizes;
        int256[] values;
    }

    struct ZeroNode {
        uint256 bits;
        uint256 height;
        bytes32 node;
    }

    ChunkTreeCaller internal tree = new ChunkTreeCaller();

    // ------------------------------------------------------------------ leafOf

    function test_LeafOf_RevertWhen_TheChunkHasAnotherLength() public {
        uint256[4] memory lengths = [uint256(0), 64, 511, 1024];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, lengths[i]));
            tree.leafOf(new bytes(lengths[i]), 2);
        }
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, 512));
        tree.leafOf(new bytes(512), 4);
    }

    function test_LeafOf_WhenTheChunkHas256Values() public view {
        assertEq(tree.leafOf(new bytes(512), 2), keccak256(new bytes(512)));
        assertEq(tree.leafOf(new bytes(1024), 4), keccak256(new bytes(1024)));
    }

    // ------------------------------------------------------------------ rootOf

    function test_RootOf_RevertWhen_TheProofHasAnotherLength() public {
        uint256[4] memory lengths = [uint256(0), 63, 65, 96];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, lengths[i]));
            tree.rootOf("leaf", 0, 2, new bytes(lengths[i]));
        }
    }

    function test_RootOf_RevertWhen_TheIndexIsOutsideOfTheTree() public {
        uint256[3] memory indices = [uint256(4), 7, 2 ** 255];
        for (uint256 i = 0; i < indices.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, indices[i], 2));
            tree.rootOf("leaf", indices[i], 2, new bytes(64));
        }
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 1, 0));
        tree.rootOf("leaf", 1, 0, "");
    }

    function test_RootOf_WhenTheTreeIsALeaf() public view {
        assertEq(tree.rootOf("leaf", 0, 0, ""), "leaf");
    }

    function test_RootOf_WhenAnotherIndexIsGiven() public view {
        bytes memory siblings = abi.encode(bytes32("a"), bytes32("b"), bytes32("c"));
        for (uint256 i = 0; i < 8; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                assertNotEq(tree.rootOf("leaf", i, 3, siblings), tree.rootOf("leaf", j, 3, siblings));
            }
        }
    }

    function test_RootOf_WhenAnInnerNodeIsGiven() public view {
        bytes32 parent = keccak256(abi.encode(bytes32("left"), bytes32("leaf")));
        bytes32 root = keccak256(abi.encode(parent, bytes32("right")));
        assertEq(tree.rootOf("leaf", 1, 2, abi.encode(bytes32("left"), bytes32("right"))), root);
        assertEq(tree.rootOf(parent, 0, 1, abi.encode(bytes32("right"))), root);
    }

    function test_RootOf_WhenTheGoldenProofsAreGiven() public view {
        Proof[] memory proofs = _proofs();
        for (uint256 i = 0; i < proofs.length; ++i) {
            Proof memory proof = proofs[i];
            bytes32 leaf = tree.leafOf(proof.chunk, proof.bits / 8);
            assertEq(leaf, proof.leaf);
            bytes memory siblings = abi.encodePacked(proof.proof);
            assertEq(tree.rootOf(leaf, proof.index, proof.depth, siblings), proof.root);
        }
        assertGt(proofs.length, 20);
    }

    // ------------------------------------------------------------------ subtreeRoot

    function test_SubtreeRoot_RevertWhen_TheNumberOfNodesIsAnother() public {
        uint256[5] memory lengths = [uint256(0), 32, 96, 127, 160];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, lengths[i]));
            tree.subtreeRoot(new bytes(lengths[i]), 2);
        }
    }

    function test_SubtreeRoot_WhenThereIsOneNode() public view {
        assertEq(tree.subtreeRoot(abi.encode(bytes32("node")), 0), "node");
    }

    function test_SubtreeRoot_WhenThereAreMoreNodes() public view {
        for (uint256 levels = 1; levels <= 6; ++levels) {
            bytes32[] memory row = _row("seed", levels);
            bytes memory nodes = abi.encodePacked(row);
            while (row.length > 1) row = _parents(row);
            assertEq(tree.subtreeRoot(nodes, levels), row[0]);
        }
    }

    // ------------------------------------------------------------------ a value and its root

    function test_ProofLength_WhenADepthIsGiven() public view {
        Proof[] memory proofs = _proofs();
        for (uint256 i = 0; i < proofs.length; ++i) {
            assertEq(ChunkTree.proofLength(proofs[i].bits / 8, proofs[i].depth), _packed(proofs[i]).length);
        }
    }

    function test_OpenInt16_RevertWhen_TheProofIsTooShort() public {
        uint256[3] memory lengths = [uint256(0), 511, 575];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert();
            tree.openInt16(new bytes(lengths[i]), 0, 2);
        }
    }

    function test_OpenInt16_RevertWhen_TheCoordinateIsOutsideOfTheTree() public {
        tree.openInt16(new bytes(576), 1_023, 2);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 4, 2));
        tree.openInt16(new bytes(576), 1_024, 2);
    }

    function test_OpenInt16_WhenTheGoldenProofsAreGiven() public view {
        assertGt(_openAll(16), 10);
    }

    function test_OpenInt32_RevertWhen_TheProofIsTooShort() public {
        uint256[3] memory lengths = [uint256(0), 1023, 1087];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert();
            tree.openInt32(new bytes(lengths[i]), 0, 2);
        }
    }

    function test_OpenInt32_RevertWhen_TheCoordinateIsOutsideOfTheTree() public {
        tree.openInt32(new bytes(1088), 1_023, 2);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 4, 2));
        tree.openInt32(new bytes(1088), 1_024, 2);
    }

    function test_OpenInt32_WhenTheGoldenProofsAreGiven() public view {
        assertGt(_openAll(32), 10);
    }

    // ------------------------------------------------------------------ values

    function test_ZeroRoot_WhenAVectorIsZeroEverywhere() public pure {
        for (uint256 depth = 0; depth <= 21; ++depth) {
            assertEq(ChunkTree.zeroRoot(2, depth), Vectors.root(Vectors.zero(2, depth)));
            assertEq(ChunkTree.zeroRoot(4, depth), Vectors.root(Vectors.zero(4, depth)));
        }
    }

    // ------------------------------------------------------------------ squaresOf

    function test_SquaresOf_RevertWhen_TheChunkHasAnotherLength() public {
        uint256[4] memory lengths = [uint256(0), 511, 513, 1024];
        for (uint256 i = 0; i < lengths.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, lengths[i]));
            tree.squaresOf(new bytes(lengths[i]));
        }
    }

    function test_SquaresOf_WhenOneValueIsNotZero() public view {
        int16[6] memory values = [int16(1), -1, 255, -256, type(int16).max, type(int16).min];
        for (uint256 k = 0; k < 256; ++k) {
            bytes memory chunk = new bytes(512);
            for (uint256 i = 0; i < values.length; ++i) {
                _set(chunk, k, values[i]);
                assertEq(tree.squaresOf(chunk), uint256(int256(values[i]) ** 2));
            }
        }
    }

    function test_SquaresOf_WhenEveryValueIsTheLeastOrTheGreatestPossible() public view {
        bytes memory chunk = new bytes(512);
        for (uint256 k = 0; k < 256; ++k) {
            _set(chunk, k, type(int16).min);
        }
        assertEq(tree.squaresOf(chunk), 2 ** 38);
        for (uint256 k = 0; k < 256; ++k) {
            _set(chunk, k, k % 2 == 0 ? type(int16).max : type(int16).min);
        }
        assertEq(tree.squaresOf(chunk), 2 ** 37 + 128 * 32_767 ** 2);
    }

    function test_SquaresOf_WhenAnyChunkIsGiven() public view {
        for (uint256 seed = 0; seed < 20; ++seed) {
            bytes memory chunk = _randomChunk(seed);
            assertEq(tree.squaresOf(chunk), Vectors.squaresOf(chunk));
        }
    }

    /// @dev What stands before and after the chunk in the calldata is not read.
    function testFuzz_TheSquaresAreThoseOfTheChunkAlone(bytes32[16] calldata words) public view {
        bytes memory chunk = abi.encodePacked(words);
        assertEq(tree.squaresOf(chunk), Vectors.squaresOf(chunk));
        bytes memory around = abi.encodePacked(keccak256(chunk), chunk, keccak256(chunk));
        assertEq(tree.squaresWithin(around, 32), Vectors.squaresOf(chunk));
    }

    function _set(bytes memory chunk, uint256 k, int16 value) private pure {
        (chunk[2 * k], chunk[2 * k + 1]) = (bytes1(uint8(uint16(value))), bytes1(uint8(uint16(value) >> 8)));
    }

    function _randomChunk(uint256 seed) private pure returns (bytes memory chunk) {
        for (uint256 i = 0; i < 16; ++i) {
            chunk = abi.encodePacked(chunk, keccak256(abi.encode(seed, i)));
        }
    }

    // ------------------------------------------------------------------ int16At, int32At

    function test_Int16At_RevertWhen_ThePositionIsOutsideOfTheChunk() public {
        vm.expectRevert();
        tree.int16At(new bytes(512), 256);
    }

    function test_Int16At_WhenThePositionIsInTheChunk() public view {
        bytes memory chunk = hex"0000010000ffffffff7f0080";
        int256[6] memory expected = [int256(0), 1, -256, -1, 32767, -32768];
        for (uint256 i = 0; i < 6; ++i) {
            assertEq(tree.int16At(chunk, i), expected[i]);
        }
    }

    function test_Int32At_RevertWhen_ThePositionIsOutsideOfTheChunk() public {
        vm.expectRevert();
        tree.int32At(new bytes(1024), 256);
    }

    function test_Int32At_WhenThePositionIsInTheChunk() public view {
        bytes memory chunk = hex"0100000000ff0000ffffffffffffff7f00000080";
        int256[5] memory expected = [int256(1), 65_280, -1, 2 ** 31 - 1, -(2 ** 31)];
        for (uint256 i = 0; i < 5; ++i) {
            assertEq(tree.int32At(chunk, i), expected[i]);
        }
    }

    // ------------------------------------------------------------------ golden

    /// @dev Builds the whole tree of each vector, and compares the values of the chunks with the vector's.
    function test_the_golden_vectors_have_their_roots() public view {
        bytes memory data = vm.parseJsonTypeArray(
            golden,
            ".vectors",
            "V(uint256 bits,uint256 depth,bool packed,bytes32 root,uint256[] sizes,int256[] values)"
        );
        Vector[] memory vectors = abi.decode(data, (Vector[]));
        for (uint256 i = 0; i < vectors.length; ++i) {
            assertEq(_rootOf(vectors[i]), vectors[i].root);
        }
    }

    function test_the_golden_roots_of_zeros() public view {
        bytes memory data =
            vm.parseJsonTypeArray(golden, ".zeroNodes", "Z(uint256 bits,uint256 height,bytes32 node)");
        ZeroNode[] memory nodes = abi.decode(data, (ZeroNode[]));
        bytes memory siblings;
        bytes32 leaf;
        for (uint256 i = 0; i < nodes.length; ++i) {
            if (nodes[i].height == 0) {
                siblings = "";
                leaf = tree.leafOf(new bytes(nodes[i].bits * 32), nodes[i].bits / 8);
            } else {
                siblings = abi.encodePacked(siblings, nodes[i - 1].node);
            }
            uint256 last = (uint256(1) << nodes[i].height) - 1;
            assertEq(tree.rootOf(leaf, last, nodes[i].height, siblings), nodes[i].node);
        }
    }

    // ------------------------------------------------------------------ fuzz

    function testFuzz_ValuesAreReadAsTheyWereWritten(int16 narrow, int32 wide, uint8 position) public view {
        bytes memory chunk = new bytes(1024);
        _write(chunk, uint256(position) * 2, uint16(narrow), 2);
        assertEq(tree.int16At(chunk, position), narrow);
        chunk = new bytes(1024);
        _write(chunk, uint256(position) * 4, uint32(wide), 4);
        assertEq(tree.int32At(chunk, position), wide);
    }

    /// @dev Every leaf of a tree proves its own place, and no other.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_ALeafProvesItsPlaceOnly(bytes32 seed, uint256 depth, uint256 index) public view {
        depth = bound(depth, 1, 5);
        index = bound(index, 0, (1 << depth) - 1);
        bytes32[] memory row = _row(seed, depth);
        bytes32 leaf = row[index];
        bytes memory siblings;
        for (uint256 level = 0; level < depth; ++level) {
            siblings = abi.encodePacked(siblings, row[(index >> level) ^ 1]);
            row = _parents(row);
        }
        for (uint256 i = 0; i < 1 << depth; ++i) {
            assertEq(tree.rootOf(leaf, i, depth, siblings) == row[0], i == index);
        }
    }

    // ------------------------------------------------------------------ helpers

    function _proofs() private view returns (Proof[] memory) {
        return abi.decode(
            vm.parseJsonTypeArray(
                golden,
                ".proofs",
                "P(uint256 bits,bytes chunk,uint256 depth,uint256 index,bytes32 leaf,bytes32[] proof,bytes32 root,uint256 vector)"
            ),
            (Proof[])
        );
    }

    /// @dev Opens every golden proof of values of so many bits, at each position, with something behind it.
    function _openAll(uint256 bits) private view returns (uint256 opened) {
        Proof[] memory proofs = _proofs();
        for (uint256 i = 0; i < proofs.length; ++i) {
            if (proofs[i].bits != bits) continue;
            ++opened;
            bytes memory packed = abi.encodePacked(_packed(proofs[i]), "behind");
            for (uint256 position = 0; position < 256; position += 51) {
                uint256 coordinate = 256 * proofs[i].index + position;
                (bytes32 root, int256 value) = bits == 16
                    ? tree.openInt16(packed, coordinate, proofs[i].depth)
                    : tree.openInt32(packed, coordinate, proofs[i].depth);
                assertEq(root, proofs[i].root);
                assertEq(
                    value,
                    bits == 16
                        ? tree.int16At(proofs[i].chunk, position)
                        : tree.int32At(proofs[i].chunk, position)
                );
            }
        }
    }

    function _packed(Proof memory proof) private pure returns (bytes memory) {
        return abi.encodePacked(proof.chunk, proof.proof);
    }

    /// @dev As docs/protocol.md, sections 3 and 4, say it: tensors padded to chunks (in a packed layout only their
    /// end), chunks to 2^depth.
    function _rootOf(Vector memory v) private pure returns (bytes32) {
        if (v.packed) {
            v.sizes = new uint256[](1);
            v.sizes[0] = v.values.length;
        }
        uint256 width = v.bits / 8;
        bytes32[] memory row = new bytes32[](1 << v.depth);
        uint256 filled = 0;
        uint256 next = 0;
        for (uint256 t = 0; t < v.sizes.length; ++t) {
            for (uint256 left = v.sizes[t]; left != 0;) {
                bytes memory chunk = new bytes(256 * width);
                for (uint256 k = 0; k < 256 && left != 0; ++k) {
                    _write(chunk, k * width, uint256(v.values[next]), width);
                    ++next;
                    --left;
                }
                row[filled++] = keccak256(chunk);
            }
        }
        bytes32 zero = keccak256(new bytes(256 * width));
        while (filled < row.length) row[filled++] = zero;
        while (row.length > 1) row = _parents(row);
        return row[0];
    }

    function _row(bytes32 seed, uint256 levels) private pure returns (bytes32[] memory row) {
        row = new bytes32[](1 << levels);
        for (uint256 i = 0; i < row.length; ++i) {
            row[i] = keccak256(abi.encode(seed, i));
        }
    }

    function _parents(bytes32[] memory row) private pure returns (bytes32[] memory parents) {
        parents = new bytes32[](row.length / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            parents[i] = keccak256(abi.encode(row[2 * i], row[2 * i + 1]));
        }
    }

    function _write(bytes memory chunk, uint256 offset, uint256 value, uint256 width) private pure {
        for (uint256 i = 0; i < width; ++i) {
            chunk[offset + i] = bytes1(uint8(value >> 8 * i));
        }
    }
}
