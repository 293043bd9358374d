// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Rule} from "../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {ModelRule} from "../../contracts/libraries/ModelRule.sol";

/// @dev One aggregation. `base` and `momentum` have an int32 for each coordinate. `updates` have a chunk of 256 int16 for
/// each update, in which the coordinates are neighbours from `first` on. All are little-endian.
struct Aggregation {
    Rule rule;
    uint256 trimBps;
    uint256 fractionBits;
    uint256 learningRateBps;
    uint256 momentumBps;
    uint256 normLimit;
    uint256 first;
    uint256[] weights;
    bytes updates;
    bytes base;
    bytes momentum;
}

/// @title What the libraries make of many coordinates, in one call
contract RuleHarness {
    /// @return results For each coordinate of each aggregation the rule's step, the next state, and the next
    /// momentum, which is 0 if there is none.
    function evaluate(Aggregation[] calldata aggregations) external pure returns (int256[] memory results) {
        uint256 coordinates = 0;
        for (uint256 i = 0; i < aggregations.length; ++i) {
            coordinates += aggregations[i].base.length / 4;
        }
        results = new int256[](3 * coordinates);
        uint256 next = 0;
        for (uint256 i = 0; i < aggregations.length; ++i) {
            for (uint256 k = 0; k < aggregations[i].base.length / 4; ++k) {
                (results[next], results[next + 1], results[next + 2]) = _evaluate(aggregations[i], k);
                next += 3;
            }
        }
    }

    function _evaluate(Aggregation calldata a, uint256 coordinate)
        private
        pure
        returns (int256 step, int256 state, int256 momentum)
    {
        uint256 count = a.weights.length;
        int256[] memory values = new int256[](count);
        for (uint256 k = 0; k < count; ++k) {
            bytes calldata chunk = a.updates[512 * k:][:512];
            values[k] = ChunkTree.int16At(chunk, a.first + coordinate);
            if (a.normLimit != 0) {
                values[k] = ModelRule.clipped(values[k], ChunkTree.squaresOf(chunk), a.normLimit);
            }
        }
        step = ModelRule.aggregate(a.rule, a.trimBps, values, a.weights);
        int256 move = ModelRule.scaled(step, a.fractionBits);
        if (a.momentumBps != 0) {
            momentum = ModelRule.nextMomentum(ChunkTree.int32At(a.momentum, coordinate), a.momentumBps, move);
            move = momentum;
        }
        state = ModelRule.nextState(ChunkTree.int32At(a.base, coordinate), move, a.learningRateBps);
    }
}
