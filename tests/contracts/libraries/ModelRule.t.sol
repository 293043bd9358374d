// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Rule} from "../../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../../contracts/libraries/ChunkTree.sol";
import {ModelRule} from "../../../contracts/libraries/ModelRule.sol";
import {GoldenTest} from "../support/GoldenTest.sol";
import {Vectors} from "../support/Vectors.sol";

/// @notice See ModelRule.tree.
contract ModelRuleTest is GoldenTest {
    struct RuleVector {
        int256 aggregate;
        int256 base;
        uint256 fractionBits;
        uint256 kind;
        int256 next;
        uint256 trimBps;
        int256[] values;
        uint256[] weights;
    }

    struct ClipVector {
        bytes chunk;
        int256[] clipped;
        uint256 limit;
        uint256 squares;
    }

    struct ServerVector {
        int256 base;
        uint256 fractionBits;
        uint256 learningRateBps;
        int256 momentum;
        uint256 momentumBps;
        int256 next;
        int256 nextMomentum;
        int256 step;
    }

    function test_WeightedMean_WhenAHalfIsToBeRounded() public pure {
        assertEq(ModelRule.weightedMean(_values(1, 2), _weights(1, 1)), 2);
        assertEq(ModelRule.weightedMean(_values(-1, -2), _weights(1, 1)), -1);
        assertEq(ModelRule.weightedMean(_values(-1, 0), _weights(1, 1)), 0);
    }

    function test_WeightedMean_WhenTheSumIsNegative() public pure {
        assertEq(ModelRule.weightedMean(_values(-1, 0), _weights(2, 1)), -1);
        assertEq(ModelRule.weightedMean(_values(-1, 0), _weights(1, 2)), 0);
        assertEq(ModelRule.weightedMean(_values(-10, -11), _weights(1, 2)), -11);
    }

    function test_WeightedMean_WhenTheValuesAndWeightsAreAtTheirLimits() public pure {
        int256[] memory values = new int256[](100);
        uint256[] memory weights = new uint256[](100);
        for (uint256 k = 0; k < 100; ++k) {
            (values[k], weights[k]) = (type(int16).min, 255);
        }
        assertEq(ModelRule.weightedMean(values, weights), type(int16).min);
    }

    function test_LowerMedian_WhenTheNumberOfValuesIsOdd() public pure {
        int256[] memory values = new int256[](3);
        (values[0], values[1], values[2]) = (5, -7, 2);
        assertEq(ModelRule.lowerMedian(values), 2);
    }

    function test_LowerMedian_WhenTheNumberOfValuesIsEven() public pure {
        assertEq(ModelRule.lowerMedian(_values(5, -7)), -7);
    }

    function test_TrimmedMean_WhenNothingIsTrimmed() public pure {
        assertEq(ModelRule.trimmedMean(_values(5, -7), 0), -1);
    }

    function test_TrimmedMean_WhenAPartOfAValueWouldBeTrimmed() public pure {
        assertEq(ModelRule.trimmedMean(_ramp(10, 200), 999), 65);
        assertEq(ModelRule.trimmedMean(_ramp(10, 200), 1_000), 55);
    }

    function test_TrimmedMean_WhenAsMuchAsMayBeIsTrimmed() public pure {
        assertEq(ModelRule.trimmedMean(_values(5, -7), 4_999), -1);
        int256[] memory values = new int256[](3);
        (values[0], values[1], values[2]) = (5, -7, 2);
        assertEq(ModelRule.trimmedMean(values, 4_999), 2);
        assertEq(ModelRule.trimmedMean(_ramp(100, 1_000_000), 4_999), 51);
    }

    function test_NextState_WhenTheRateIsOne() public pure {
        for (int256 step = type(int16).min; step <= type(int16).max; ++step) {
            assert(ModelRule.nextState(7, ModelRule.scaled(step, 24), 10_000) == 7 + step);
            assert(ModelRule.nextState(-7, ModelRule.scaled(step, 9), 10_000) == -7 + step * 2 ** 15);
        }
    }

    /// @dev 300^2 + 400^2 = 500^2
    function test_Clipped_WhenTheNormIsAtTheLimit() public pure {
        assertEq(ModelRule.clipped(300, 250_000, 500), 300);
        assertEq(ModelRule.clipped(-400, 250_000, 500), -400);
        assertEq(ModelRule.clipped(0, 0, 1), 0);
    }

    function test_Clipped_WhenTheNormIsJustAboveTheLimit() public pure {
        assertEq(ModelRule.clipped(300, 250_000, 499), 299);
        assertEq(ModelRule.clipped(400, 250_000, 250), 200);
        // A norm just above 500 counts as 501.
        assertEq(ModelRule.clipped(500, 250_001, 500), 499);
    }

    function test_Clipped_WhenTheNormIsNotWhole() public pure {
        assertEq(ModelRule.clipped(7, 98, 9), 6); // 63 / 10
        assertEq(ModelRule.clipped(10, 101, 10), 9); // 100 / 11
    }

    function test_Clipped_WhenAQuotientIsNotWhole() public pure {
        assertEq(ModelRule.clipped(5, 100, 7), 3);
        assertEq(ModelRule.clipped(-5, 100, 7), -3);
        assertEq(ModelRule.clipped(-1, 100, 9), 0);
    }

    function test_Clipped_WhenEveryValueIsTheLeastPossible() public pure {
        uint256 squares = 256 * 2 ** 30;
        assertEq(ModelRule.clipped(type(int16).min, squares, 2 ** 19 - 1), -32_767);
        assertEq(ModelRule.clipped(type(int16).min, squares, 2 ** 18), -16_384);
        assertEq(ModelRule.clipped(type(int16).min, squares, 16), -1);
        assertEq(ModelRule.clipped(type(int16).min, squares, 15), 0);
        assertEq(ModelRule.clipped(type(int16).min, squares, 1), 0);
    }

    function test_Aggregate_WhenARuleIsGiven() public pure {
        assertEq(ModelRule.aggregate(Rule.WeightedMean, 4_000, _values(0, 9), _weights(2, 1)), 3);
        assertEq(ModelRule.aggregate(Rule.Median, 4_000, _values(9, 0), _weights(2, 1)), 0);
        assertEq(ModelRule.aggregate(Rule.TrimmedMean, 4_000, _values(9, 0), _weights(2, 1)), 5);
        // With no line of its own, a rule reverts.
        for (uint256 rule = 0; rule <= uint256(type(Rule).max); ++rule) {
            assertEq(ModelRule.aggregate(Rule(rule), 4_000, _values(9, 9), _weights(2, 1)), 9);
        }
    }

    function test_Scaled_WhenAStepIsGiven() public pure {
        assertEq(ModelRule.scaled(-1, 15), -512);
        assertEq(ModelRule.scaled(1, 24), 1);
        assertEq(ModelRule.scaled(type(int16).min, 0), -(2 ** 39));
    }

    function test_NextMomentum_WhenAHalfIsToBeRounded() public pure {
        assertEq(ModelRule.nextMomentum(5, 5_000, 0), 3);
        assertEq(ModelRule.nextMomentum(-5, 5_000, 0), -2);
        assertEq(ModelRule.nextMomentum(5, 9_000, 100), 105);
    }

    function test_NextMomentum_WhenItLeaves32Bits() public pure {
        assertEq(ModelRule.nextMomentum(type(int32).max, 9_999, 2 ** 39), type(int32).max);
        assertEq(ModelRule.nextMomentum(type(int32).min, 9_999, -(2 ** 39)), type(int32).min);
    }

    function test_NextState_WhenTheNextStateLeaves32Bits() public pure {
        assertEq(ModelRule.nextState(type(int32).max, 1, 10_000), type(int32).max);
        assertEq(ModelRule.nextState(type(int32).min, -1, 10_000), type(int32).min);
        assertEq(ModelRule.nextState(0, -(2 ** 39), 1_000_000), type(int32).min);
    }

    function test_NextState_WhenTheNextStateFits32Bits() public pure {
        assertEq(ModelRule.nextState(type(int32).max - 1, 1, 10_000), type(int32).max);
        assertEq(ModelRule.nextState(100, -512, 10_000), 100 - 512);
        assertEq(ModelRule.nextState(-3, 2 ** 25, 10_000), -3 + 2 ** 25);
    }

    function test_NextState_WhenAHalfIsToBeRounded() public pure {
        assertEq(ModelRule.nextState(0, 1, 5_000), 1);
        assertEq(ModelRule.nextState(0, -1, 5_000), 0);
        assertEq(ModelRule.nextState(0, -3, 25_000), -7);
    }

    // ------------------------------------------------------------------ golden

    function test_the_golden_rules() public view {
        RuleVector[] memory rows = abi.decode(
            vm.parseJsonTypeArray(
                golden,
                ".rules",
                "R(int256 aggregate,int256 base,uint256 fractionBits,uint256 kind,int256 next,uint256 trimBps,int256[] values,uint256[] weights)"
            ),
            (RuleVector[])
        );
        for (uint256 i = 0; i < rows.length; ++i) {
            RuleVector memory row = rows[i];
            int256 step = ModelRule.aggregate(Rule(row.kind), row.trimBps, row.values, row.weights);
            assertEq(step, row.aggregate);
            int256 move = ModelRule.scaled(step, row.fractionBits);
            assertEq(ModelRule.nextState(row.base, move, 10_000), row.next);
        }
        assertGt(rows.length, 50);
    }

    function test_the_golden_server_steps() public view {
        ServerVector[] memory rows = abi.decode(
            vm.parseJsonTypeArray(
                golden,
                ".serverSteps",
                "S(int256 base,uint256 fractionBits,uint256 learningRateBps,int256 momentum,uint256 momentumBps,int256 next,int256 nextMomentum,int256 step)"
            ),
            (ServerVector[])
        );
        for (uint256 i = 0; i < rows.length; ++i) {
            ServerVector memory row = rows[i];
            int256 move = ModelRule.scaled(row.step, row.fractionBits);
            if (row.momentumBps != 0) {
                move = ModelRule.nextMomentum(row.momentum, row.momentumBps, move);
                assertEq(move, row.nextMomentum);
            }
            assertEq(ModelRule.nextState(row.base, move, row.learningRateBps), row.next);
        }
        assertGt(rows.length, 50);
    }

    function test_the_golden_clips() public view {
        ClipVector[] memory rows = abi.decode(
            vm.parseJsonTypeArray(
                golden, ".clips", "C(bytes chunk,int256[] clipped,uint256 limit,uint256 squares)"
            ),
            (ClipVector[])
        );
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(this.squaresOf(rows[i].chunk), rows[i].squares);
            for (uint256 k = 0; k < 256; ++k) {
                int256 value = this.int16At(rows[i].chunk, k);
                assertEq(ModelRule.clipped(value, rows[i].squares, rows[i].limit), rows[i].clipped[k]);
            }
        }
        assertGt(rows.length, 15);
    }

    function squaresOf(bytes calldata chunk) external pure returns (uint256) {
        return ChunkTree.squaresOf(chunk);
    }

    function int16At(bytes calldata chunk, uint256 position) external pure returns (int256) {
        return ChunkTree.int16At(chunk, position);
    }

    // ------------------------------------------------------------------ fuzz

    function testFuzz_TheNormOfAClippedChunkIsAtMostTheLimit(
        bytes32[16] calldata words,
        uint8 shift,
        uint32 raw
    ) public view {
        uint256 limit = uint256(raw) % (2 ** 19 - 1) + 1;
        int256[] memory values = new int256[](256);
        for (uint256 k = 0; k < 256; ++k) {
            // Of all sizes.
            values[k] = int16(uint16(uint256(words[k / 16]) >> 16 * (k % 16))) >> (shift % 16);
        }
        uint256 squares = _squares(values);
        int256[] memory within = new int256[](256);
        for (uint256 k = 0; k < 256; ++k) {
            within[k] = ModelRule.clipped(values[k], squares, limit);
            assertEq(within[k], Vectors.scaledDown(values[k], squares, limit));
        }
        assertLe(_squares(within), limit * limit);
        if (squares <= limit * limit) assertEq(within, values);
        else assertLt(_squares(within), squares);
    }

    function _squares(int256[] memory values) private pure returns (uint256 squares) {
        for (uint256 k = 0; k < values.length; ++k) {
            squares += uint256(values[k] * values[k]);
        }
    }

    /// @dev The A with 2S - N < 2NA <= 2S + N
    function testFuzz_TheWeightedMeanIsTheNearest(int16[] memory raw, uint8[] memory rawWeights) public pure {
        vm.assume(raw.length != 0 && rawWeights.length != 0);
        uint256 count = raw.length < 100 ? raw.length : 100;
        int256[] memory values = new int256[](count);
        uint256[] memory weights = new uint256[](count);
        int256 sum = 0;
        int256 total = 0;
        for (uint256 k = 0; k < count; ++k) {
            values[k] = raw[k];
            weights[k] = rawWeights[k % rawWeights.length] % 255 + 1;
            sum += values[k] * int256(weights[k]);
            total += int256(weights[k]);
        }
        int256 mean = ModelRule.weightedMean(values, weights);
        assertLe(2 * total * mean, 2 * sum + total);
        assertGt(2 * total * (mean + 1), 2 * sum + total);
        assertEq(ModelRule.weightedMean(_reversed(values), _reversed(weights)), mean, "order");
    }

    function testFuzz_TheMedianHasHalfOnEachSide(int16[] memory raw) public pure {
        vm.assume(raw.length != 0);
        int256[] memory values = _first(raw, 20);
        int256 median = ModelRule.lowerMedian(_first(raw, 20));
        uint256 below = 0;
        uint256 notAbove = 0;
        for (uint256 k = 0; k < values.length; ++k) {
            if (values[k] < median) ++below;
            if (values[k] <= median) ++notAbove;
        }
        uint256 rank = (values.length - 1) / 2;
        assertLe(below, rank);
        assertGt(notAbove, rank);
        assertEq(ModelRule.lowerMedian(_reversed(values)), median, "order");
    }

    /// @dev The sum of what remains is the sum without the extremes, taken out one by one.
    function testFuzz_TheTrimmedMeanForgetsTheExtremes(int16[] memory raw, uint16 trimBps) public pure {
        vm.assume(raw.length != 0);
        trimBps %= 5_000;
        int256[] memory values = _first(raw, 20);
        uint256 trim = values.length * trimBps / 10_000;
        int256 sum = 0;
        for (uint256 k = 0; k < values.length; ++k) {
            sum += values[k];
        }
        bool[] memory gone = new bool[](values.length);
        for (uint256 t = 0; t < trim; ++t) {
            sum -= _take(values, gone, 1);
            sum -= _take(values, gone, -1);
        }
        int256 n = int256(values.length - 2 * trim);
        int256 mean = ModelRule.trimmedMean(_first(raw, 20), trimBps);
        assertLe(2 * n * mean, 2 * sum + n);
        assertGt(2 * n * (mean + 1), 2 * sum + n);
        assertEq(ModelRule.trimmedMean(_reversed(values), trimBps), mean, "order");
    }

    function testFuzz_TheNextStateSaturates(int32 state, int16 step, uint8 bits) public pure {
        bits %= 25;
        int256 exact = int256(state) + int256(step) * int256(2 ** (24 - uint256(bits)));
        int256 next = ModelRule.nextState(state, ModelRule.scaled(step, bits), 10_000);
        if (exact > type(int32).max) assertEq(next, type(int32).max);
        else if (exact < type(int32).min) assertEq(next, type(int32).min);
        else assertEq(next, exact);
    }

    /// @dev The V' with 2 beta V - 1 < 2 (V' - move) <= 2 beta V + 1
    function testFuzz_TheMomentumIsTheNearest(int32 momentum, uint16 bps, int32 move) public pure {
        bps %= 10_000;
        int256 next = ModelRule.nextMomentum(momentum, bps, move);
        if (next == type(int32).max || next == type(int32).min) return;
        int256 error = 10_000 * (next - move) - int256(momentum) * int256(uint256(bps));
        assertLe(error, 5_000);
        assertGt(error, -5_000);
    }

    /// @dev Without new steps it does not grow.
    function testFuzz_TheMomentumDecays(int32 momentum, uint16 bps) public pure {
        bps %= 10_000;
        int256 next = ModelRule.nextMomentum(momentum, bps, 0);
        assertLe(next < 0 ? -next : next, momentum < 0 ? -int256(momentum) : int256(momentum));
    }

    // ------------------------------------------------------------------ helpers

    /// @dev Takes out the greatest (direction 1) or the least (-1).
    function _take(int256[] memory values, bool[] memory gone, int256 direction)
        private
        pure
        returns (int256)
    {
        uint256 best = type(uint256).max;
        for (uint256 k = 0; k < values.length; ++k) {
            if (gone[k]) continue;
            if (best == type(uint256).max || direction * values[k] > direction * values[best]) best = k;
        }
        gone[best] = true;
        return values[best];
    }

    function _values(int256 a, int256 b) private pure returns (int256[] memory values) {
        values = new int256[](2);
        (values[0], values[1]) = (a, b);
    }

    function _weights(uint256 a, uint256 b) private pure returns (uint256[] memory weights) {
        weights = new uint256[](2);
        (weights[0], weights[1]) = (a, b);
    }

    /// @dev count - 1, ..., 2, 1 and last.
    function _ramp(uint256 count, int256 last) private pure returns (int256[] memory values) {
        values = new int256[](count);
        for (uint256 k = 1; k < count; ++k) {
            values[k - 1] = int256(count - k) * (count == 10 ? int256(10) : int256(1));
        }
        values[count - 1] = last;
    }

    function _first(int16[] memory raw, uint256 limit) private pure returns (int256[] memory values) {
        values = new int256[](raw.length < limit ? raw.length : limit);
        for (uint256 k = 0; k < values.length; ++k) {
            values[k] = raw[k];
        }
    }

    function _reversed(int256[] memory values) private pure returns (int256[] memory reversed) {
        reversed = new int256[](values.length);
        for (uint256 k = 0; k < values.length; ++k) {
            reversed[k] = values[values.length - 1 - k];
        }
    }

    function _reversed(uint256[] memory values) private pure returns (uint256[] memory reversed) {
        reversed = new uint256[](values.length);
        for (uint256 k = 0; k < values.length; ++k) {
            reversed[k] = values[values.length - 1 - k];
        }
    }
}
