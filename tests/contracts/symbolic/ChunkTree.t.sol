// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ChunkTree} from "../../../contracts/libraries/ChunkTree.sol";

/// @notice For halmos: each check holds for every value of its parameters. See docs/assurance.md.
/// @custom:halmos --panic-error-codes *
contract ChunkTreeSymbolic {
    // ------------------------------------------------------------------ values

    function check_Int16AtReadsWhatWasWritten(int16 value, uint8 position, bytes32 around) external view {
        uint256 word = uint16(value);
        bytes memory written = abi.encodePacked(uint8(word), uint8(word >> 8));
        for (uint256 k = 0; k < 4; ++k) {
            if (position != k) continue;
            bytes memory before = new bytes(2 * k);
            assert(this.int16At(abi.encodePacked(before, written, around), k) == value);
            return;
        }
    }

    function check_Int32AtReadsWhatWasWritten(int32 value, uint8 position, bytes32 around) external view {
        uint256 word = uint32(value);
        bytes memory written =
            abi.encodePacked(uint8(word), uint8(word >> 8), uint8(word >> 16), uint8(word >> 24));
        for (uint256 k = 0; k < 4; ++k) {
            if (position != k) continue;
            bytes memory before = new bytes(4 * k);
            assert(this.int32At(abi.encodePacked(before, written, around), k) == value);
            return;
        }
    }

    function check_Int16AtRefusesAPositionOutside(uint256 position) external view {
        require(position >= 256);
        try this.int16At(new bytes(512), position) {
            assert(false);
        } catch {}
    }

    function check_Int32AtRefusesAPositionOutside(uint256 position) external view {
        require(position >= 256);
        try this.int32At(new bytes(1024), position) {
            assert(false);
        } catch {}
    }

    // ------------------------------------------------------------------ rootOf

    function check_RootOfIsTheHashOfTheWayUp(bytes32 leaf, uint8 index, bytes32[3] calldata siblings)
        external
        view
    {
        require(index < 8);
        bytes32 node = leaf;
        for (uint256 level = 0; level < 3; ++level) {
            bool left = index >> level & 1 == 0;
            node = left
                ? keccak256(bytes.concat(node, siblings[level]))
                : keccak256(bytes.concat(siblings[level], node));
        }
        assert(this.rootOf(leaf, index, 3, abi.encodePacked(siblings)) == node);
    }

    /// @dev Two proofs of one root at one place are the same proof: nobody can open a result in two ways.
    function check_ARootBindsTheLeafAndItsPath(
        bytes32 leaf,
        bytes32 other,
        uint8 index,
        bytes32[3] calldata siblings,
        bytes32[3] calldata others
    ) external view {
        require(index < 8);
        bytes32 root = this.rootOf(leaf, index, 3, abi.encodePacked(siblings));
        if (this.rootOf(other, index, 3, abi.encodePacked(others)) != root) return;
        assert(other == leaf);
        for (uint256 level = 0; level < 3; ++level) {
            assert(others[level] == siblings[level]);
        }
    }

    function check_RootOfRefusesAnIndexOutside(bytes32 leaf, uint256 index, bytes32[3] calldata siblings)
        external
        view
    {
        require(index >= 8);
        try this.rootOf(leaf, index, 3, abi.encodePacked(siblings)) {
            assert(false);
        } catch {}
    }

    function check_RootOfRefusesAnotherLength(bytes32 leaf, uint256 index, bytes32[3] calldata siblings)
        external
        view
    {
        for (uint256 depth = 0; depth < 6; ++depth) {
            if (depth == 3) continue;
            try this.rootOf(leaf, index, depth, abi.encodePacked(siblings)) {
                assert(false);
            } catch {}
        }
    }

    // ------------------------------------------------------------------ subtreeRoot

    function check_SubtreeRootIsTheHashOfItsNodes(bytes32[4] calldata nodes) external view {
        bytes32 left = keccak256(bytes.concat(nodes[0], nodes[1]));
        bytes32 right = keccak256(bytes.concat(nodes[2], nodes[3]));
        bytes32 root = keccak256(bytes.concat(left, right));
        assert(this.subtreeRoot(abi.encodePacked(nodes), 2) == root);
    }

    /// @dev Nobody can answer a demand in two ways.
    function check_ASubtreeRootBindsItsNodes(bytes32[4] calldata nodes, bytes32[4] calldata others)
        external
        view
    {
        bytes32 root = this.subtreeRoot(abi.encodePacked(nodes), 2);
        if (this.subtreeRoot(abi.encodePacked(others), 2) != root) return;
        for (uint256 i = 0; i < 4; ++i) {
            assert(others[i] == nodes[i]);
        }
    }

    // ------------------------------------------------------------------ the library takes calldata

    function subtreeRoot(bytes calldata nodes, uint256 levels) external pure returns (bytes32) {
        return ChunkTree.subtreeRoot(nodes, levels);
    }

    function int16At(bytes calldata chunk, uint256 position) external pure returns (int256) {
        return ChunkTree.int16At(chunk, position);
    }

    function int32At(bytes calldata chunk, uint256 position) external pure returns (int256) {
        return ChunkTree.int32At(chunk, position);
    }

    function rootOf(bytes32 node, uint256 index, uint256 depth, bytes calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return ChunkTree.rootOf(node, index, depth, siblings);
    }
}
