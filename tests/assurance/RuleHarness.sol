// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Rule} from "../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {ModelRule} from "../../contracts/libraries/ModelRule.sol";

/// @dev One aggregation. `base` has an int32 for each coordinate, `updates` an int16 for each coordinate and
/// update, all updates of a coordinate together; both little-endian.
struct Aggregation {
    Rule rule;
    uint256 trimBps;
    uint256 fractionBits;
    uint256[] weights;
    bytes updates;
    bytes base;
}

/// @title What the libraries make of many coordinates, in one call
contract RuleHarness {
    /// @return results For each coordinate of each aggregation the rule's step, and the next state.
    function evaluate(Aggregation[] calldata aggregations) external pure returns (int256[] memory results) {
        uint256 coordinates = 0;
        for (uint256 i = 0; i < aggregations.length; ++i) {
            coordinates += aggregations[i].base.length / 4;
        }
        results = new int256[](2 * coordinates);
        uint256 next = 0;
        for (uint256 i = 0; i < aggregations.length; ++i) {
            for (uint256 k = 0; k < aggregations[i].base.length / 4; ++k) {
                (results[next], results[next + 1]) = _evaluate(aggregations[i], k);
                next += 2;
            }
        }
    }

    function _evaluate(Aggregation calldata a, uint256 coordinate) private pure returns (int256, int256) {
        uint256 count = a.weights.length;
        int256[] memory values = new int256[](count);
        for (uint256 k = 0; k < count; ++k) {
            values[k] = ChunkTree.int16At(a.updates, count * coordinate + k);
        }
        int256 step = ModelRule.aggregate(a.rule, a.trimBps, values, a.weights);
        return (step, ModelRule.nextState(ChunkTree.int32At(a.base, coordinate), step, a.fractionBits));
    }
}
