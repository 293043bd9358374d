// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An account that nobody admitted wants a part in a closed federation, however much it pays.
contract OutsiderTest is FederationTest {
    address internal mallory = makeAddr("mallory");

    function test_an_outsider_has_no_part_in_a_closed_federation() public {
        vm.deal(mallory, 1_000 * STAKE);
        vm.startPrank(mallory);
        vm.expectRevert(IFederation.NotAdmitted.selector);
        federation.register{value: 500 * STAKE}(Role.Party, mallory);
        vm.expectRevert(IFederation.NotRegistered.selector);
        federation.deposit{value: 500 * STAKE}();
        vm.stopPrank();
        _openRound();
        vm.expectRevert(IFederation.NotRegistered.selector);
        vm.prank(mallory);
        federation.commit(1, "some");
        _commitFirst(3);
        _endPhase();
        _expectNothingAccepted(IFederation.NoCommitment.selector);
        _reveal(_updateOf(mallory, "root"));
        assertEq(mallory.balance, 1_000 * STAKE);
    }

    /// @dev Being admitted in one role opens no other.
    function test_an_aggregator_is_no_party() public {
        vm.deal(_aggregator(0), STAKE);
        vm.startPrank(_aggregator(0));
        vm.expectRevert(IFederation.NotAdmitted.selector);
        federation.register{value: STAKE}(Role.Party, _beneficiary(_aggregator(0)));
        vm.stopPrank();
        _openRound();
        vm.expectRevert(IFederation.NotRegistered.selector);
        vm.prank(_aggregator(0));
        federation.commit(1, "some");
    }
}
