// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An account wants a part without paying for it.
contract FreeStakeTest is FederationTest {
    address internal mallory = makeAddr("mallory");

    function test_there_is_no_stake_without_value() public {
        _admit(mallory, Role.Party);
        vm.deal(mallory, MIN_STAKE);
        vm.startPrank(mallory);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, 0, MIN_STAKE));
        federation.register(Role.Party, mallory);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, MIN_STAKE - 1, MIN_STAKE));
        federation.register{value: MIN_STAKE - 1}(Role.Party, mallory);
        vm.expectRevert(IFederation.NotRegistered.selector);
        federation.deposit{value: MIN_STAKE}();
        vm.stopPrank();
        vm.expectRevert(IFederation.ZeroAmount.selector);
        vm.prank(_party(0));
        federation.deposit();
        assertEq(mallory.balance, MIN_STAKE);
    }

    /// @dev Coins that only pass through the contract are no stake: it takes no plain transfer.
    function test_a_plain_transfer_is_refused() public {
        vm.deal(mallory, 1 ether);
        vm.prank(mallory);
        (bool sent,) = address(federation).call{value: 1 ether}("");
        assertFalse(sent);
    }

    /// @dev A party whose stake slashes have brought below the minimum has no seat any more.
    function test_what_is_left_of_a_slashed_stake_is_no_stake() public {
        _join(mallory, Role.Party, MIN_STAKE);
        _openRound();
        vm.prank(mallory);
        federation.commit(1, "junk");
        _commitFirst(2);
        _endPhase();
        _revealFirst(2);
        _endPhase();
        federation.slashUnrevealed(mallory);
        _attest(_result(), AGGREGATORS);

        _openRound();
        assertEq(_stakeOf(mallory), MIN_STAKE * 9 / 10);
        vm.expectRevert(IFederation.NotActive.selector);
        vm.prank(mallory);
        federation.commit(2, "more junk");
    }
}
