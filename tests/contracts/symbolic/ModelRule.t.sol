// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ModelRule} from "../../../contracts/libraries/ModelRule.sol";

/// @notice For halmos: each check holds for every value of its parameters. See docs/assurance.md.
contract ModelRuleSymbolic {
    /// @dev For the extreme steps and those next to zero: with a step that is not known, the rate divides by a number
    /// that is no power of two, which is too hard. See test_NextState_WhenTheRateIsOne.
    function check_NextStateIsTheSaturatedSum(int32 state, uint8 which, uint8 bits) external pure {
        int256[5] memory steps = [int256(type(int16).min), -1, 0, 1, type(int16).max];
        // Numbers that the solver knows: one path for each of 125.
        for (uint256 k = 0; k < 5; ++k) {
            for (uint256 e = 0; e <= 24; ++e) {
                if (which != k || bits != e) continue;
                int256 exact = int256(state) + steps[k] * int256(2 ** (24 - e));
                if (exact > type(int32).max) exact = type(int32).max;
                if (exact < type(int32).min) exact = type(int32).min;
                assert(ModelRule.nextState(state, ModelRule.scaled(steps[k], e), 10_000) == exact);
                return;
            }
        }
    }

    function check_TheMeanOfTwoIsTheNearest(int16 a, int16 b) external pure {
        _nearest(a, b, 1, 1);
    }

    function check_TheMeanOfTwoIsTheNearest_255To1(int16 a, int16 b) external pure {
        _nearest(a, b, 255, 1);
    }

    function check_TheMeanOfTwoIsTheNearest_128To128(int16 a, int16 b) external pure {
        _nearest(a, b, 128, 128);
    }

    function check_TheMedianOfThreeHasItsRank(int16 a, int16 b, int16 c) external pure {
        _hasItsRank(_values(a, b, c));
    }

    function check_TheMedianOfFourHasItsRank(int16 a, int16 b, int16 c, int16 d) external pure {
        _hasItsRank(_values(a, b, c, d));
    }

    function check_TheMedianOfThreeForgetsTheOrder(int16 a, int16 b, int16 c) external pure {
        int256 median = ModelRule.lowerMedian(_values(a, b, c));
        assert(ModelRule.lowerMedian(_values(b, a, c)) == median);
        assert(ModelRule.lowerMedian(_values(b, c, a)) == median);
    }

    function check_TheTrimmedMeanOfThreeIsTheMedian(int16 a, int16 b, int16 c) external pure {
        int256 median = ModelRule.lowerMedian(_values(a, b, c));
        assert(ModelRule.trimmedMean(_values(a, b, c), 3_334) == median);
    }

    function _nearest(int16 a, int16 b, uint256 v, uint256 w) private pure {
        int256[] memory values = new int256[](2);
        uint256[] memory weights = new uint256[](2);
        (values[0], values[1]) = (a, b);
        (weights[0], weights[1]) = (v, w);
        int256 mean = ModelRule.weightedMean(values, weights);
        int256 count = int256(v + w);
        int256 rounded = 2 * (int256(a) * int256(v) + int256(b) * int256(w)) + count;
        assert(2 * count * mean <= rounded && rounded < 2 * count * (mean + 1));
    }

    function _hasItsRank(int256[] memory values) private pure {
        int256[] memory sorted = new int256[](values.length);
        for (uint256 k = 0; k < values.length; ++k) {
            sorted[k] = values[k];
        }
        int256 median = ModelRule.lowerMedian(sorted);
        uint256 below = 0;
        uint256 notAbove = 0;
        for (uint256 k = 0; k < values.length; ++k) {
            if (values[k] < median) ++below;
            if (values[k] <= median) ++notAbove;
        }
        uint256 rank = (values.length - 1) / 2;
        assert(below <= rank && rank < notAbove);
    }

    function _values(int256 a, int256 b, int256 c) private pure returns (int256[] memory values) {
        values = new int256[](3);
        (values[0], values[1], values[2]) = (a, b, c);
    }

    function _values(int256 a, int256 b, int256 c, int256 d) private pure returns (int256[] memory values) {
        values = new int256[](4);
        (values[0], values[1], values[2], values[3]) = (a, b, c, d);
    }
}
