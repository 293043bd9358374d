// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {IRewardShares} from "../../contracts/interfaces/IRewardShares.sol";
import {Refuser} from "../contracts/support/Receivers.sol";
import {SharesTest} from "../contracts/support/SharesTest.sol";

/// @notice A party's beneficiary refuses its share, to hold up everybody's; or whoever has stolen the key of a party's
/// server wants the share for itself.
contract RewardSharesRefusalTest is SharesTest {
    address private account = _party(PARTIES);

    function test_a_refusing_receiver_holds_up_nobody_else() public {
        address refuser = address(new Refuser());
        _admit(account, Role.Party);
        vm.deal(account, STAKE);
        vm.prank(account);
        federation.register{value: STAKE}(Role.Party, refuser);
        _distribute(_sharesOf(account, 1 ether), THREE);
        _distribute(_shares(), THREE);

        vm.expectRevert(Errors.FailedCall.selector);
        _withdrawShares(account, account);
        assertEq(rewards.creditOf(account), 1 ether);
        _withdrawShares(_party(0), _party(0));
        assertEq(_beneficiary(_party(0)).balance, 1 ether);
        assertEq(address(rewards).balance, SHARES_POT - 1 ether);
    }

    /// @dev The key of the account can have the share paid, and only to whom the account has named before.
    function test_a_stolen_key_cannot_take_a_share() public {
        _distribute(_shares(), THREE);
        vm.deal(_party(0), STAKE);
        vm.startPrank(_party(0));
        vm.expectPartialRevert(IFederation.BeneficiaryMismatch.selector);
        federation.register{value: STAKE}(Role.Aggregator, stranger);
        rewards.withdraw(_party(0));
        vm.stopPrank();
        assertEq(_beneficiary(_party(0)).balance, 1 ether);
        vm.expectRevert(IRewardShares.NotAccountOrBeneficiary.selector);
        _withdrawShares(_party(1), stranger);
    }
}
