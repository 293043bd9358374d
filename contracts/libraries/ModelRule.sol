// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Rule} from "../interfaces/IFederation.sol";

/// @title The aggregation rules on one coordinate of the model, in exact integers
/// @notice See docs/protocol.md, section 3. `fl_orchestrator/aggregation` computes the same rules in Python, for
/// whole vectors; both must give the same integers. `values` are the values of the included updates at one
/// coordinate: at least one value, at most 100.
library ModelRule {
    error UnknownRule(Rule rule);

    /// @notice Fractional bits of the global state.
    uint256 internal constant STATE_FRACTION_BITS = 24;

    uint256 private constant BPS = 10_000;

    /// @notice A value of an update, scaled down with its chunk so that the chunk's L2 norm is at most the limit.
    /// @dev Rounded towards zero, by a norm that is rounded up: so the norm of the clipped chunk never exceeds the
    /// limit. The largest norm is 2^19, so nothing here overflows.
    /// @param value Of 16 bits.
    /// @param squares The sum of the squares of the chunk's values: see {ChunkTree-squaresOf}.
    /// @param normLimit In the fixed point of the updates, above zero and below 2^19.
    function clipped(int256 value, uint256 squares, uint256 normLimit) internal pure returns (int256) {
        if (squares <= normLimit * normLimit) return value;
        return value * int256(normLimit) / int256(Math.sqrt(squares, Math.Rounding.Ceil));
    }

    /// @notice The step that a rule takes at this coordinate, in the fixed point of the updates.
    /// @param weights One for each value; only the weighted mean reads them.
    /// @param trimBps Below 5,000; only the trimmed mean reads it.
    /// @dev Reorders `values`. It never applies one rule for another: with a rule that has no line here, a right
    /// model would be judged as a wrong one, and its signers slashed.
    function aggregate(Rule rule, uint256 trimBps, int256[] memory values, uint256[] memory weights)
        internal
        pure
        returns (int256)
    {
        if (rule == Rule.WeightedMean) return weightedMean(values, weights);
        if (rule == Rule.Median) return lowerMedian(values);
        if (rule == Rule.TrimmedMean) return trimmedMean(values, trimBps);
        revert UnknownRule(rule);
    }

    /// @notice `floor((2S + N) / 2N)`: the weighted mean, rounded to the nearest, halves up.
    function weightedMean(int256[] memory values, uint256[] memory weights) internal pure returns (int256) {
        int256 sum = 0;
        uint256 weight = 0;
        for (uint256 k = 0; k < values.length; ++k) {
            sum += values[k] * int256(weights[k]);
            weight += weights[k];
        }
        return roundedMean(sum, weight);
    }

    /// @notice The element of rank `floor((M-1)/2)`.
    /// @dev Sorts `values`.
    function lowerMedian(int256[] memory values) internal pure returns (int256) {
        _sort(values);
        return values[(values.length - 1) / 2];
    }

    /// @notice The unweighted mean without the `floor(trimBps * M / 10000)` smallest and as many largest,
    /// rounded to the nearest, halves up.
    /// @dev Sorts `values`. At least one value remains, because `trimBps < 5000`.
    function trimmedMean(int256[] memory values, uint256 trimBps) internal pure returns (int256) {
        _sort(values);
        uint256 trim = trimBps * values.length / BPS;
        uint256 end = values.length - trim;
        int256 sum = 0;
        for (uint256 k = trim; k < end; ++k) {
            sum += values[k];
        }
        return roundedMean(sum, end - trim);
    }

    /// @notice `A * 2^(24 - e)`: a step in the fixed point of the state.
    /// @param step A, the step in the fixed point of the updates.
    /// @param updateFractionBits e, at most 24.
    function scaled(int256 step, uint256 updateFractionBits) internal pure returns (int256) {
        return step * int256(1 << (STATE_FRACTION_BITS - updateFractionBits));
    }

    /// @notice `sat32(round(beta V) + A * 2^(24 - e))`, halves rounded up.
    /// @param momentum V, the base's momentum.
    /// @param momentumBps beta, below 10,000.
    /// @param move The step, {scaled}.
    function nextMomentum(int256 momentum, uint256 momentumBps, int256 move) internal pure returns (int256) {
        return _sat32(roundedMean(momentum * int256(momentumBps), BPS) + move);
    }

    /// @notice `sat32(G + round(rate * move))`, halves rounded up.
    /// @param state G, the base model's value.
    /// @param move The step, {scaled}; with momentum, the next momentum.
    function nextState(int256 state, int256 move, uint256 learningRateBps) internal pure returns (int256) {
        return _sat32(state + roundedMean(move * int256(learningRateBps), BPS));
    }

    /// @notice `floor((2S + N) / 2N)`: a mean, rounded to the nearest, halves up.
    function roundedMean(int256 sum, uint256 count) internal pure returns (int256) {
        return _floorDiv(2 * sum + int256(count), int256(2 * count));
    }

    /// @dev Rounds towards minus infinity; the divisor is positive. (Solidity's `/` rounds towards zero.)
    function _floorDiv(int256 dividend, int256 divisor) private pure returns (int256 quotient) {
        quotient = dividend / divisor;
        if (dividend % divisor < 0) --quotient;
    }

    function _sat32(int256 value) private pure returns (int256) {
        if (value > type(int32).max) return type(int32).max;
        if (value < type(int32).min) return type(int32).min;
        return value;
    }

    /// @dev Insertion sort, which is cheap for at most 100 values.
    function _sort(int256[] memory values) private pure {
        for (uint256 i = 1; i < values.length; ++i) {
            int256 value = values[i];
            uint256 j = i;
            for (; j > 0 && values[j - 1] > value; --j) {
                values[j] = values[j - 1];
            }
            values[j] = value;
        }
    }
}
