// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice Where coin is plentiful, an account pays so much for a demand that its credit is full to the last wei: what is
/// credited to it next would overflow, and whatever credits it would fail.
contract BrimfulCreditTest is DisputeTest {
    /// @dev A party of the round: so that nobody of it is ever paid.
    function test_a_full_credit_does_not_stop_the_distribution() public {
        Evidence memory e = _acceptRight();
        _fill(_party(0));
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(e.result, e.updates);
        assertEq(_creditOf(_party(0)), type(uint96).max, "lost to the attacker");
        assertEq(_creditOf(_party(1)), REWARD * 8 / 10 / 3);
    }

    /// @dev A cartel's friend, who proves the cartel's fraud first: so that no slash can be credited.
    function test_a_full_credit_does_not_save_a_signer() public {
        Evidence memory e = _acceptWrong();
        watcher = makeAddr("the cartel's friend");
        _fill(watcher);
        _challenge(e);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
        assertEq(_creditOf(watcher), type(uint96).max, "lost to the cartel");
    }

    function _fill(address account) private {
        uint256 value = type(uint96).max + uint256(BOND);
        vm.deal(account, value);
        vm.prank(account);
        disputes.demand{value: value}(1, 0, 0);
        assertEq(_creditOf(account), type(uint96).max);
    }
}
