// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IMasked} from "../../contracts/interfaces/IMasked.sol";
import {PrivateResult} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: all aggregators sign a result with one seed too few. Masks would remain in the accepted model, and
/// no challenge of it could be made, because the contract recomputes a coordinate from the seeds that it asks for.
/// @dev The first attestation checks their number, and that they are those of the result.
contract PrivateSeedCountAttack is PrivateTest {
    function test_a_result_with_another_number_of_seeds_is_refused() public {
        _startAttest(5);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        for (uint256 count = 0; count <= 10; ++count) {
            bytes memory others = new bytes(32 * count);
            signed.seedsHash = keccak256(others);
            if (count == 9) continue;
            vm.expectRevert(abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 32 * count, 32 * 9));
            this.attest(signed, others);
        }
        // Withheld seeds are another number too.
        signed.seedsHash = keccak256(seeds);
        vm.expectRevert(abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 0, 32 * 9));
        this.attest(signed, "");
        this.attest(signed, seeds);
    }

    function test_seeds_that_the_result_does_not_name_are_refused() public {
        _startAttest(4);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(15);
        seeds[7] ^= 0x10;
        vm.expectRevert(IMasked.SeedsMismatch.selector);
        this.attest(signed, seeds);
    }

    function attest(PrivateResult memory signed, bytes memory seeds) external {
        _attest(signed, seeds, AGGREGATORS);
    }
}
