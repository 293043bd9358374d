// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../interfaces/IDisputes.sol";
import {Params} from "../interfaces/IFederation.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {ModelRule} from "./ModelRule.sol";

/// @title What a step makes of the base at one coordinate, by proofs of the base and of the signed model
/// @notice Without momentum, a state is a vector of 256 * 2^depth values: the model. With momentum, it is one of twice
/// the values, in a tree one level deeper: the left half is the model, the right half the momentum, in the same order.
/// A coordinate of the right half is as good as any for a challenge. See docs/protocol.md, sections 3 and 6.1.
library StateProofs {
    /// @notice The depth of the tree of a state.
    function depthOf(Params memory p) internal pure returns (uint256) {
        return p.serverMomentumBps == 0 ? p.depth : uint256(p.depth) + 1;
    }

    /// @notice The coordinate of updates, and of steps, that a coordinate of the state depends on.
    function stepCoordinate(Params memory p, uint256 coordinate) internal pure returns (uint256) {
        return _isMomentum(p, coordinate) ? coordinate - _half(p) : coordinate;
    }

    /// @notice The length of the proofs that {compare} reads: of base and model, and where the next value of the
    /// model depends on its momentum, of that one too.
    function proofsLength(Params memory p, uint256 coordinate) internal pure returns (uint256) {
        return (_needsBoth(p, coordinate) ? 3 : 2) * ChunkTree.proofLength(4, depthOf(p));
    }

    /// @notice The value that follows at a coordinate of the state, and the one that was signed.
    /// @param step The rule's step at {stepCoordinate}, in the fixed point of the updates.
    /// @param proofs Of the base at the coordinate, then, if it is one of the model and there is momentum, of the base
    /// at the coordinate of its momentum, then of the signed model at the coordinate: the chunk and its siblings. The
    /// caller has checked the length of all proofs, of which these are the last.
    function compare(
        Params memory p,
        int256 step,
        uint256 coordinate,
        bytes32 baseRoot,
        bytes32 modelRoot,
        bytes calldata proofs
    ) internal pure returns (int256 expected, int256 claimed) {
        int256 move = ModelRule.scaled(step, p.updateFractionBits);
        proofs = proofs[proofs.length - proofsLength(p, coordinate):];
        (expected, proofs) = _open(p, coordinate, baseRoot, proofs);
        if (_isMomentum(p, coordinate)) {
            expected = ModelRule.nextMomentum(expected, p.serverMomentumBps, move);
        } else {
            if (_needsBoth(p, coordinate)) {
                int256 momentum;
                (momentum, proofs) = _open(p, coordinate + _half(p), baseRoot, proofs);
                move = ModelRule.nextMomentum(momentum, p.serverMomentumBps, move);
            }
            expected = ModelRule.nextState(expected, move, p.serverLearningRateBps);
        }
        bytes32 root;
        (root, claimed) = ChunkTree.openInt32(proofs, coordinate, depthOf(p));
        if (root != modelRoot) revert IDisputes.InvalidModelProof();
    }

    /// @return value The base's value at a coordinate.
    /// @return left The proofs that follow.
    function _open(Params memory p, uint256 coordinate, bytes32 baseRoot, bytes calldata proofs)
        private
        pure
        returns (int256 value, bytes calldata left)
    {
        bytes32 root;
        (root, value) = ChunkTree.openInt32(proofs, coordinate, depthOf(p));
        if (root != baseRoot) revert IDisputes.InvalidBaseProof();
        left = proofs[ChunkTree.proofLength(4, depthOf(p)):];
    }

    function _needsBoth(Params memory p, uint256 coordinate) private pure returns (bool) {
        return p.serverMomentumBps != 0 && coordinate < _half(p);
    }

    function _isMomentum(Params memory p, uint256 coordinate) private pure returns (bool) {
        return p.serverMomentumBps != 0 && coordinate >= _half(p);
    }

    /// @dev The number of values of the model, with padding.
    function _half(Params memory p) private pure returns (uint256) {
        return ChunkTree.CHUNK_VALUES << p.depth;
    }
}
