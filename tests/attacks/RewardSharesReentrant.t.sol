// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IRewardShares, Shares} from "../../contracts/interfaces/IRewardShares.sol";
import {Reenterer} from "../contracts/support/Receivers.sol";
import {SharesTest} from "../contracts/support/SharesTest.sol";

/// @notice The beneficiary of a share is a contract that enters the pot again while it is paid.
contract RewardSharesReentrantTest is SharesTest {
    Reenterer private attacker;
    address private account = _party(PARTIES);

    function setUp() public override {
        super.setUp();
        attacker = new Reenterer();
        _admit(account, Role.Party);
        vm.deal(account, STAKE);
        vm.prank(account);
        federation.register{value: STAKE}(Role.Party, address(attacker));
        _distribute(_sharesOf(account, 1 ether), THREE);
    }

    function test_a_credit_is_paid_once() public {
        _reenter(abi.encodeCall(IRewardShares.withdraw, account));
        assertFalse(attacker.succeeded());
    }

    /// @dev Shares that a quorum has signed are distributed then as at any other time.
    function test_a_distribution_on_the_way_credits_what_was_signed() public {
        Shares memory next = _sharesOf(account, 2 ether);
        Signature[] memory signatures = _signedBy(THREE, rewards.sharesDigest(next));
        _reenter(abi.encodeCall(IRewardShares.distribute, (next, THREE, signatures)));
        assertTrue(attacker.succeeded());
        assertEq(rewards.creditOf(account), 2 ether);
        assertEq(rewards.pot(), SHARES_POT - 3 ether);
    }

    function _reenter(bytes memory call) private {
        attacker.prepare(address(rewards), call);
        attacker.execute(address(rewards), 0, abi.encodeCall(IRewardShares.withdraw, account));
        assertTrue(attacker.tried());
        assertEq(address(attacker).balance, 1 ether);
        assertEq(address(rewards).balance, SHARES_POT - 1 ether);
    }
}
