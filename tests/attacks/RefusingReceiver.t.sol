// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, IFederation, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";
import {Refuser} from "../contracts/support/Receivers.sol";

/// @notice A beneficiary refuses its money, to hold up everybody's payouts, or so that what it is owed is lost in a
/// payment that nobody checked.
contract RefusingReceiverTest is FederationTest {
    address internal account = _aggregator(AGGREGATORS);

    /// @dev A refused payment is undone: what is owed stays owed. It holds up itself alone.
    function test_a_refusing_receiver_holds_up_nobody_else() public {
        Result memory result = _takePartWithARefuser();
        CountedUpdate[] memory updates = _counted(_updates(3));
        federation.distribute(result, updates);
        uint96 credit = federation.observe(account).credit;
        assertGt(credit, 0);
        uint256 balance = address(federation).balance;
        vm.startPrank(account);
        vm.expectPartialRevert(IFederation.PaymentFailed.selector);
        federation.withdrawRewards(account);
        federation.requestUnbond(account, Role.Aggregator);
        skip(2 days);
        vm.expectPartialRevert(IFederation.PaymentFailed.selector);
        federation.withdraw(account, Role.Aggregator);
        vm.stopPrank();
        assertEq(federation.observe(account).credit, credit);
        assertEq(federation.observe(account).aggregator.stake, STAKE);
        assertEq(address(federation).balance, balance);

        // The others are paid, and rounds go on.
        vm.prank(_party(0));
        federation.withdrawRewards(_party(0));
        assertEq(_beneficiary(_party(0)).balance, REWARD * 8 / 10 / 3);
        _toFinal(3);
    }

    function _takePartWithARefuser() private returns (Result memory result) {
        address refuser = address(new Refuser());
        _admit(account, Role.Aggregator);
        vm.deal(account, STAKE);
        vm.prank(account);
        federation.register{value: STAKE}(Role.Aggregator, refuser);
        _toAttest(3);
        result = _result();
        _attest(result, AGGREGATORS + 1);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
    }
}
