// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice While round 1 is disputed, a cartel wants round 2, built on it, to become final, so that it can no longer
/// be undone, and is paid.
contract FinalOutOfOrderTest is DisputeTest {
    /// @dev A demand has moved the finality of round 1 beyond that of round 2: round 2 waits.
    function test_a_round_is_not_final_before_the_one_below_it() public {
        Evidence memory first = _acceptWrong();
        _toAttest(3);
        Evidence memory second = _evidence();
        _sign(second, AGGREGATORS);
        assertHead(2, 2);
        vm.warp(_window(first).windowEnd - 1);
        uint256 id = _demand(1, 0, 0);
        _answer(id, first.model);

        uint256 finalSecond = disputes.window(2).finalAt;
        assertGt(_window(first).finalAt, finalSecond);
        vm.warp(finalSecond);
        vm.expectRevert(IFederation.NotFinalizable.selector);
        federation.finalize();
        vm.expectRevert(IFederation.NotFinal.selector);
        federation.distribute(second.result, second.updates);

        // The proof comes late, and takes both.
        _challenge(first);
        assertHead(0, 0);
        assertEq(_observe().finalHeight, 0);
        vm.expectRevert(IFederation.NotFinal.selector);
        federation.distribute(second.result, second.updates);
    }
}
