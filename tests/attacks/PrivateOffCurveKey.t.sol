// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPrivateFederation} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: a party or an aggregator shows a key that is no point of the curve. Whoever computes with it either
/// fails, so that no honest party can mask, or tells something of its own secret (an invalid curve attack).
/// @dev The contract takes no such key, so that nobody ever computes with one.
contract PrivateOffCurveKeyAttack is PrivateTest {
    uint256 private constant FIELD = 2 ** 256 - 2 ** 32 - 977;

    function test_no_mask_key_off_the_curve_gets_into_a_round() public {
        _openRound();
        bytes32[3] memory keys = _bad();
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.expectRevert(IPrivateFederation.InvalidKey.selector);
            vm.prank(_party(0));
            masked.commit(1, 1, keys[i]);
        }
        // Each is refused for its key: another one is taken.
        vm.prank(_party(0));
        masked.commit(1, 1, bytes32(uint256(1)));
    }

    function test_no_encryption_key_off_the_curve_gets_into_a_seat_table() public {
        bytes32[3] memory keys = _bad();
        for (uint256 i = 0; i < keys.length; ++i) {
            vm.expectRevert(IPrivateFederation.InvalidKey.selector);
            vm.prank(_aggregator(0));
            masked.setKey(keys[i]);
        }
    }

    /// @dev 5 is not on the curve, and 1 is: the last is its x, not reduced.
    function _bad() private pure returns (bytes32[3] memory) {
        return [bytes32(uint256(5)), bytes32(type(uint256).max), bytes32(FIELD + 1)];
    }
}
