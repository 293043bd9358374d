// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Result} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {ModelRule} from "../../contracts/libraries/ModelRule.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A party claims far more samples than it has: for a larger reward, and for the model.
contract SelfReportedWeightTest is FederationTest {
    /// @dev The reward is the same for every weight.
    function test_a_claimed_weight_earns_nothing() public {
        (CountedUpdate[] memory updates, Result memory result) = _accepted(255);
        federation.distribute(result, updates);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(federation.observe(_party(i)).credit, REWARD * 8 / 10 / 3);
        }
    }

    /// @dev The claim is bound by the commitment: once the others' weights are public it cannot grow.
    function test_a_weight_does_not_grow_after_the_commit() public {
        _openRound();
        Update memory update = _weighing(1);
        _commitTo(update);
        _commit(1);
        _endPhase();
        update.weight = 255;
        _expectNothingAccepted(IPlainFederation.CommitmentMismatch.selector);
        _reveal(update);
    }

    /// @dev Where the mean is weighted, the largest claim against ten of the smallest moves it by 255/265 of the way:
    /// as far as the rule says, and no further. What remains: see the threat model.
    function test_the_largest_claim_has_the_largest_weight_and_no_more() public pure {
        int256[] memory values = new int256[](11);
        uint256[] memory weights = new uint256[](11);
        (values[0], weights[0]) = (32_767, 255);
        for (uint256 k = 1; k < 11; ++k) {
            (values[k], weights[k]) = (0, 1);
        }
        assertEq(ModelRule.weightedMean(values, weights), int256(32_767) * 255 / 265 + 1);
        assertEq(ModelRule.lowerMedian(values), 0);
        values[0] = 32_767; // besides the one that the median has sorted to the end
        assertEq(ModelRule.trimmedMean(values, 1_000), int256(32_767 + 4) / 9);
    }

    function _weighing(uint16 weight) private view returns (Update memory update) {
        update = _update(0);
        update.weight = weight;
    }

    /// @dev The first of three parties claims a weight; the round becomes final.
    function _accepted(uint16 weight) private returns (CountedUpdate[] memory updates, Result memory result) {
        _openRound();
        Update[] memory all = _updates(3);
        all[0].weight = weight;
        for (uint256 i = 0; i < 3; ++i) {
            _commitTo(all[i]);
        }
        _endPhase();
        federation.reveal(all);
        result = _result();
        _attest(result, AGGREGATORS);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        updates = _counted(all);
    }
}
