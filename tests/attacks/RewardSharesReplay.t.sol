// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IRewardShares, Shares} from "../../contracts/interfaces/IRewardShares.sol";
import {SharesTest} from "../contracts/support/SharesTest.sol";

/// @notice A party that got a share sends the same signatures again: at once, to another pot, on another chain, after
/// the aggregators have changed, or long after they were given.
contract RewardSharesReplayTest is SharesTest {
    Shares private shares;
    Signature[] private signatures;

    function setUp() public override {
        super.setUp();
        Shares memory signed = _shares();
        Signature[] memory by = _signedBy(THREE, rewards.sharesDigest(signed));
        (shares.number, shares.fromRound, shares.toRound) = (signed.number, signed.fromRound, signed.toRound);
        (shares.validUntil, shares.report) = (signed.validUntil, signed.report);
        for (uint256 i = 0; i < 3; ++i) {
            shares.list.push(signed.list[i]);
            signatures.push(by[i]);
        }
    }

    function test_shares_are_paid_once() public {
        _send(shares, THREE, signatures);
        _refused(abi.encodeWithSelector(IRewardShares.WrongNumber.selector, 1));
        _send(shares, THREE, signatures);
        // With the next number, it is not what was signed.
        _fundShares(SHARES_POT);
        shares.number = 1;
        _expectNotSigned();
        assertEq(rewards.creditOf(_party(0)), 1 ether);
    }

    /// @dev Of two proposals with one number the first that is sent uses it up.
    function test_a_proposal_that_another_one_replaced_is_void() public {
        _distribute(_sharesOf(_party(3), 1), ALL);
        _refused(abi.encodeWithSelector(IRewardShares.WrongNumber.selector, 1));
        _send(shares, THREE, signatures);
    }

    function test_another_pot_of_the_same_federation_does_not_take_them() public {
        rewards = _deployRewards(address(federation));
        _fundShares(SHARES_POT);
        _expectNotSigned();
    }

    function test_another_chain_does_not_take_them() public {
        vm.chainId(block.chainid + 1);
        _expectNotSigned();
    }

    function test_who_has_left_signs_nothing() public {
        _requestUnbond(_aggregator(1), Role.Aggregator);
        _requestUnbond(_aggregator(2), Role.Aggregator);
        _refusedQuorum(STAKE, 2 * STAKE, 1, 2);
        _send(shares, THREE, signatures);
    }

    function test_a_signature_is_not_good_for_ever() public {
        skip(7 days + 1);
        _refused(abi.encodeWithSelector(IRewardShares.SharesExpired.selector, shares.validUntil));
        _send(shares, THREE, signatures);
    }

    function _expectNotSigned() private {
        _refused(abi.encodeWithSelector(IRewardShares.NotSignedBySeat.selector, 0));
        _send(shares, THREE, signatures);
    }
}
