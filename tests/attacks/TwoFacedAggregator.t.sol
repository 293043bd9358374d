// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, IFederation, Result, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An aggregator signs several results of one round, for two heads or for two rewards. (Each wrong one it
/// signed costs it its stake: see WrongModel.)
contract TwoFacedAggregatorTest is FederationTest {
    /// @dev Two of four collude on a wrong result. The one that signs both does not make both win.
    function test_two_results_never_both_win() public {
        _toAttest(3);
        Result memory wrong = _result();
        wrong.globalRoot = "wrong";
        Result memory right = _result();
        _attest(wrong, 2);
        _attest(right, 3);
        Signature[] memory late = _only(_sign(_aggregatorKey(2), wrong));
        vm.expectRevert(IFederation.UnknownResult.selector);
        federation.attest(wrong, late);
        assertEq(federation.head().root, right.globalRoot);
    }

    /// @dev Whatever one signs beside the accepted result earns nothing.
    function test_several_results_of_one_signer_are_counted_apart() public {
        _toAttest(4);
        Result memory fewer = _result();
        fewer.included = 7;
        _attest(fewer, 1);
        Result memory result = _result();
        _attest(result, 4);
        (uint64 signers,, bool accepted) = federation.attestation(federation.resultDigest(fewer));
        assertEq(signers, 1);
        assertFalse(accepted);
        (signers,, accepted) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 15);
        assertTrue(accepted);

        vm.warp(_observe().finalizableAt);
        federation.finalize();
        CountedUpdate[] memory updates = _counted(_updates(4));
        federation.distribute(result, updates);
        vm.expectRevert(IFederation.UnknownResult.selector);
        federation.distribute(fewer, updates);
        assertEq(federation.observe(_aggregator(0)).credit, federation.observe(_aggregator(3)).credit);
    }
}
