// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, IFederation, Result} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice The signers and parties of a round that was revoked want its rewards: at once, later, and those of the round
/// that has taken its height.
contract RewardsOfRevokedRoundTest is DisputeTest {
    function test_a_revoked_round_is_never_paid() public {
        Evidence memory wrong = _acceptWrong();
        _challenge(wrong);
        assertEq(_observe().freePot, POT, "what it had reserved is free again");
        _distributeInVain(wrong);
        skip(30 days);
        vm.expectRevert(IFederation.NotFinalizable.selector);
        federation.finalize();
        _distributeInVain(wrong);

        // Another round takes its height, becomes final, and is paid; the revoked one is not.
        _toAttest(4);
        Evidence memory right = _evidence();
        _sign(right, AGGREGATORS);
        assertHead(1, 2);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        _distributeInVain(wrong);
        federation.distribute(right.result, right.updates);
        _distributeInVain(wrong);
        assertEq(_creditOf(_party(0)), REWARD * 8 / 10 / 4);
        assertEq(_observe().freePot, POT - REWARD);
    }

    /// @dev All rounds above fall with it, and give back what they reserved. The pot pays no round twice.
    function test_the_pot_is_whole_again_after_a_revocation() public {
        Evidence memory wrong = _acceptWrong();
        for (uint256 i = 0; i < 3; ++i) {
            _toAttest(3);
            _sign(_evidence(), AGGREGATORS);
        }
        assertHead(4, 4);
        assertEq(_observe().freePot, POT - 4 * REWARD);
        _challenge(wrong);
        assertHead(0, 0);
        assertEq(_observe().freePot, POT);
    }

    function _distributeInVain(Evidence memory e) private {
        (Result memory result, CountedUpdate[] memory updates) = (e.result, e.updates);
        vm.expectRevert(IFederation.NotFinal.selector);
        federation.distribute(result, updates);
    }
}
