// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice A cartel whose wrong model is about to be found challenges itself first, from a friend's account, to lose
/// nothing.
contract SelfChallengeTest is DisputeTest {
    /// @dev The model is undone all the same, and half of every stake is burnt: the friend gets the other half.
    function test_a_cartel_that_challenges_itself_loses_half() public {
        Evidence memory e = _acceptWrong();
        watcher = makeAddr("the cartel's friend");
        _challenge(e);
        assertHead(0, 0);
        uint256 before = address(federation).balance;
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
        assertEq(watcher.balance, AGGREGATORS * STAKE / 2);
        assertEq(
            address(federation).balance, before - AGGREGATORS * STAKE / 2, "the other half stays, for nobody"
        );
    }

    /// @dev One that was convicted of a harmless fraud of its own is not safe from the other: each result is right
    /// or wrong by itself.
    function test_a_small_fraud_does_not_cover_a_large_one() public {
        _toAttest(3);
        Evidence memory small = _proposeWrong(1);
        Evidence memory large = _evidence();
        _falsify(large, WRONG, 1_000);
        _sign(large, AGGREGATORS);
        _challenge(small);
        assertHead(1, 1);
        _challenge(large);
        assertHead(0, 0);
        // What the first slash has left, which is nothing here, the second one takes.
        _slash(small, 0);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(large, i);
            assertEq(_aggregatorStake(i), 0);
        }
        bytes32 digest = _digest(small);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner(digest, 1);
    }
}
