// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {
    IPrivateFederation,
    PrivateResult,
    SignedClaim
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: aggregators lock an update that nobody revealed. A result with its bit would be accepted, and every
/// challenge of it would revert for ever, because there is no update to prove anything of.
/// @dev Even all of them together cannot: such a claim is skipped, and a result includes only what is locked.
contract PrivatePhantomBitsAttack is PrivateTest {
    function test_a_claim_of_an_update_that_nobody_revealed_is_skipped() public {
        _startClaim(3);
        SignedClaim[] memory batch = new SignedClaim[](AGGREGATORS);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            batch[i] = _signedClaim(i, 15);
        }
        _expectNothingAccepted(IFederation.InvalidBitmap.selector);
        masked.claim(batch);
        assertEq(_private().claimedSeats, 0);
    }

    function test_a_result_with_a_phantom_bit_is_refused() public {
        _startAttest(3);
        uint128[3] memory included = [uint128(15), 1 << 127 | 7, type(uint128).max];
        for (uint256 i = 0; i < 3; ++i) {
            (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
            signed.result.included = included[i];
            vm.expectRevert(IFederation.InvalidBitmap.selector);
            this.attest(signed, seeds);
        }
    }

    function test_a_revealed_update_that_too_few_hold_is_refused_too() public {
        _startClaim(4);
        _claimAll(2, 15);
        _claim(2, 7);
        _claim(3, 7);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(15);
        vm.expectRevert(IPrivateFederation.NotLocked.selector);
        this.attest(signed, seeds);
    }

    function attest(PrivateResult memory signed, bytes memory seeds) external {
        _attest(signed, seeds, AGGREGATORS);
    }
}
