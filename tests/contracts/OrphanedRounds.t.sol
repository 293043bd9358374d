// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result, Signature} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";

/// @notice See OrphanedRounds.tree: what can no longer be done with a revoked round, and what has to wait for disputes.
contract OrphanedRoundsTest is DisputeTest {
    // ------------------------------------------------------------------ attest

    function test_Attest_RevertWhen_TheResultWasProvenWrong() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(2);
        _challenge(e);
        _expectAttestRefused(e.result, IFederation.FraudulentResult.selector);
        _sign(_evidence(), AGGREGATORS);
        assertPhase(Phase.Accepted);
        _expectAttestRefused(e.result, IFederation.FraudulentResult.selector);
    }

    function test_Attest_RevertWhen_TheAcceptedResultWasProvenWrong() public {
        _toAttest(3);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, 3);
        _challenge(e);
        _expectAttestRefused(e.result, IFederation.FraudulentResult.selector);
    }

    function test_Attest_RevertWhen_TheAcceptedRoundDiedWithAnother() public {
        Evidence memory wrong = _acceptWrong();
        _toAttest(3);
        Evidence memory right = _evidence();
        _sign(right, 3);
        _challenge(wrong);
        _expectAttestRefused(right.result, IFederation.WrongPhase.selector);
        _acceptRight();
        _expectAttestRefused(right.result, IFederation.WrongPhase.selector);
    }

    function test_Attest_RevertWhen_TheBaseOfTheRoundIsOrphaned() public {
        Evidence memory wrong = _acceptWrong();
        _toAttest(3);
        Evidence memory right = _evidence();
        _challenge(wrong);
        _expectAttestRefused(right.result, IFederation.WrongPhase.selector);
    }

    // ------------------------------------------------------------------ distribute

    function test_Distribute_RevertWhen_TheRoundWasRevoked() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        skip(30 days);
        _expectNotFinal(e);
    }

    function test_Distribute_RevertWhen_AnotherRoundHasTakenItsHeight() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        Evidence memory again = _acceptRight();
        vm.warp(_window(again).finalAt);
        federation.finalize();
        _expectNotFinal(e);
        federation.distribute(again.result, again.updates);
        assertTrue(federation.distributed(1));
    }

    // ------------------------------------------------------------------ finalize

    function test_Finalize_RevertWhen_TheWindowWasExtended() public {
        Evidence memory e = _acceptRight();
        _demand(1, 0, 0);
        uint256 finalAt = _window(e).windowEnd + 2 * ANSWER_PERIOD * 4;
        vm.warp(finalAt - 1);
        _expectNotFinalizable();
        vm.warp(finalAt);
        federation.finalize();
    }

    function test_Finalize_RevertWhen_ALowerWindowWasExtended() public {
        Evidence memory first = _acceptRight();
        Evidence memory second = _acceptRight();
        _demand(1, 0, 0);
        assertLt(_window(second).finalAt, _window(first).finalAt);
        vm.warp(_window(second).finalAt);
        _expectNotFinalizable();
        vm.warp(_window(first).finalAt);
        federation.finalize();
        federation.finalize();
        assertEq(_observe().finalHeight, 2);
    }

    function test_Finalize_WhenAnotherRoundHasTakenTheHeight() public {
        Evidence memory e = _acceptWrong();
        _demand(1, 0, 0);
        _challenge(e);
        Evidence memory again = _acceptRight();
        assertLt(_window(again).finalAt, _window(e).finalAt);
        vm.warp(_window(again).finalAt - 1);
        _expectNotFinalizable();
        vm.warp(_window(again).finalAt);
        vm.expectEmit(address(federation));
        emit IFederation.RoundFinal(2, 1);
        federation.finalize();
    }

    // ------------------------------------------------------------------ expectations

    function _expectAttestRefused(Result memory result, bytes4 reason) private {
        Signature[] memory signatures = _signatures(result, AGGREGATORS);
        vm.expectRevert(reason);
        federation.attest(result, signatures);
    }

    function _expectNotFinal(Evidence memory e) private {
        vm.expectRevert(IFederation.NotFinal.selector);
        federation.distribute(e.result, e.updates);
    }

    function _expectNotFinalizable() private {
        vm.expectRevert(IFederation.NotFinalizable.selector);
        federation.finalize();
    }
}
