// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Phase, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Vector} from "./support/Vectors.sol";

/// @notice See Revocation.tree.
contract RevocationTest is DisputeTest {
    /// @dev Whose updates the parties take up again.
    uint256 private copied;

    // ------------------------------------------------------------------ the history

    function test_Revocation_WhenTheFirstOfThreeRoundsIsWrong() public {
        _expectCutAt(0);
    }

    function test_Revocation_WhenTheMiddleOneIsWrong() public {
        _expectCutAt(1);
    }

    function test_Revocation_WhenTheHeadIsWrong() public {
        _expectCutAt(2);
    }

    function test_Revocation_WhenRoundsBelowAreFinal() public {
        Evidence memory first = _acceptRight();
        Evidence memory second = _acceptWrong();
        vm.warp(_window(first).finalAt);
        federation.finalize();
        _challenge(second);
        assertHead(1, 1);
        assertEq(_observe().finalHeight, 1);
        assertEq(_observe().finalizableAt, 0);
        federation.distribute(first.result, first.updates);
    }

    function test_Revocation_WhenTheHistoryGrowsAgain() public {
        Evidence[3] memory old = _threeRounds(1);
        _challenge(old[1]);
        Evidence memory again = _acceptRight();
        assertHead(2, 4);
        assertEq(again.result.baseRoot, old[0].result.globalRoot);
        assertEq(federation.model(2).root, again.result.globalRoot);
        assertTrue(_window(again).canonical);
        assertFalse(_window(old[1]).canonical);
        // What stood at height 3 does not come back with the height.
        _acceptRight();
        assertHead(3, 5);
        assertFalse(_window(old[2]).canonical);
        assertEq(federation.model(3).round, 5);
    }

    function test_Revocation_WhenALowerRoundIsRevokedAfterwards() public {
        Evidence[3] memory old = _threeRounds(1);
        _leaveUnanswered(old[0]);
        _challenge(old[1]);
        assertHead(1, 1);
        vm.expectEmit(address(disputes));
        emit IDisputes.RoundRevoked(1, 1);
        disputes.expire(1, old[0].result);
        assertHead(0, 0);
        _acceptRight();
        assertHead(1, 4);
    }

    // ------------------------------------------------------------------ the current round

    function test_Revocation_WhenItWaitsForItsSeed() public {
        Evidence memory e = _acceptWrong();
        federation.openRound();
        vm.recordLogs();
        _challenge(e);
        // Registered, proven, fraud and revocation; no round was voided.
        assertEq(vm.getRecordedLogs().length, 4);
        assertPhase(Phase.Seeding);
        vm.roll(_current().seedBlock + 1);
        vm.expectEmit(false, false, false, false, address(federation));
        emit IFederation.RoundOpened(2, 0, 0, 0, 0);
        federation.openRound();
        assertEq(_current().round, 2);
        assertEq(_current().base, 0);
        assertEq(_current().baseRoot, federation.model(0).root);
        assertPhase(Phase.Commit);
    }

    function test_Revocation_WhenItTakesCommits() public {
        Evidence memory e = _acceptWrong();
        _openRound();
        _commitFirst(2);
        _expectVoidAfter(e);
        bytes32 commitment = _commitment(_update(2));
        vm.prank(_party(2));
        vm.expectRevert(IFederation.WrongPhase.selector);
        federation.commit(2, commitment);
        _expectNextRound();
    }

    function test_Revocation_WhenItTakesReveals() public {
        Evidence memory e = _acceptWrong();
        _toReveal(3);
        _reveal(_update(0));
        _expectVoidAfter(e);
        Update[] memory batch = _updates(3);
        _expectNothingAccepted(IFederation.WrongPhase.selector);
        federation.reveal(batch);
        _expectNextRound();
    }

    function test_Revocation_WhenItTakesAttestations() public {
        Evidence memory e = _acceptWrong();
        _toAttest(3);
        Evidence memory next = _evidence();
        _sign(next, 2);
        _expectVoidAfter(e);
        Signature[] memory signatures = _signatures(next.result, AGGREGATORS);
        vm.expectRevert(IFederation.WrongPhase.selector);
        federation.attest(next.result, signatures);
        _expectNextRound();
    }

    function test_Revocation_WhenItIsTheRevokedOne() public {
        Evidence memory e = _acceptWrong();
        assertPhase(Phase.Accepted);
        vm.recordLogs();
        _challenge(e);
        assertEq(vm.getRecordedLogs().length, 4);
        assertPhase(Phase.Void);
        _expectNextRound();
    }

    function test_Revocation_WhenItCameToNothing() public {
        Evidence memory e = _acceptWrong();
        _openRound();
        _endPhase();
        assertPhase(Phase.Void);
        _expectVoidAfter(e);
        _expectNextRound();
    }

    function test_Revocation_WhenItWasAcceptedAboveTheRevokedOne() public {
        Evidence memory e = _acceptWrong();
        _acceptRight();
        vm.recordLogs();
        _challenge(e);
        assertEq(vm.getRecordedLogs().length, 4);
        assertPhase(Phase.Void);
        _expectNextRound();
    }

    // ------------------------------------------------------------------ commits that were not revealed

    function test_Revocation_WhenTheRevealPhaseRanToItsDeadline() public {
        Evidence memory e = _acceptWrong();
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        _endPhase();
        _challenge(e);
        assertTrue(federation.observe(_party(2)).unrevealedSlashable);
        _openRound();
        federation.slashUnrevealed(_party(2));
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(1));
    }

    function test_Revocation_WhenTheRevealPhaseOfTheRevokedRoundRanToItsDeadline() public {
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        _endPhase();
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, AGGREGATORS);
        _challenge(e);
        federation.slashUnrevealed(_party(2));
    }

    function test_Revocation_WhenAnEarlierRoundWasSettled() public {
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        _endPhase();
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, AGGREGATORS);
        _openRound();
        _challenge(e);
        federation.slashUnrevealed(_party(2));
    }

    /// @dev It would have been revealed for an orphaned base.
    function test_Revocation_WhenTheRevealPhaseWasNotOver() public {
        Evidence memory e = _acceptWrong();
        _toReveal(3);
        _reveal(_update(0));
        vm.warp(_current().revealEnd - 1);
        _challenge(e);
        _expectNeverSlashable();
    }

    function test_Revocation_WhenTheCommitPhaseWasNotOver() public {
        Evidence memory e = _acceptWrong();
        _openRound();
        _commitFirst(3);
        _challenge(e);
        _expectNeverSlashable();
    }

    // ------------------------------------------------------------------ roots

    function test_Revocation_WhenTheSamePartyRevealsOneAgain() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        copied = 1;
        _toAttest(3);
        assertEq(_current().reveals, 3);
        assertEq(_update(0).root, e.updates[0].root);
        Evidence memory right = _evidence();
        _sign(right, AGGREGATORS);
        assertHead(1, 2);

        // Now that they are in a round that is canonical, they are taken.
        _toReveal(3);
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(3, _party(0), e.updates[0].root);
        _reveal(_update(0));
    }

    function test_Revocation_WhenAnotherPartyRevealsOne() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        _openRound();
        Update memory copy = _updateOf(_party(4), e.updates[0].root);
        bytes32 commitment = _commitment(copy);
        vm.prank(_party(4));
        federation.commit(2, commitment);
        _commitFirst(2);
        _endPhase();
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(2, _party(4), copy.root);
        _reveal(copy);
        assertEq(_current().reveals, 0);
    }

    // ------------------------------------------------------------------ rewards

    function test_Revocation_WhenRoundsHaveReservedThem() public {
        Evidence[3] memory old = _threeRounds(1);
        assertEq(_observe().freePot, POT - 3 * REWARD);
        _challenge(old[1]);
        assertEq(_observe().freePot, POT - REWARD);
        _acceptRight();
        assertEq(_observe().freePot, POT - 2 * REWARD);
    }

    /// @dev Nobody is paid twice for a height, and what was paid stays paid.
    function test_Revocation_WhenARoundBelowWasDistributed() public {
        Evidence memory first = _acceptRight();
        Evidence memory second = _acceptWrong();
        vm.warp(_window(first).finalAt);
        federation.finalize();
        federation.distribute(first.result, first.updates);
        uint256 credited = _creditOf(_party(0)) * 3 + _creditOf(_aggregator(0)) * AGGREGATORS;
        assertEq(_observe().freePot, POT - REWARD - credited);
        _challenge(second);
        assertEq(_observe().freePot, POT - credited);
        Evidence memory again = _acceptRight();
        vm.warp(_window(again).finalAt);
        federation.finalize();
        federation.distribute(again.result, again.updates);
        assertEq(_observe().freePot, POT - 2 * credited);
    }

    // ------------------------------------------------------------------ steps

    /// @dev In the rounds after the copied one, if there is one, everybody takes up its old update.
    function _updateVector(uint256 round, uint256 i) internal view override returns (Vector memory) {
        return super._updateVector(copied == 0 ? round : copied, i);
    }

    /// @dev Of which one is wrong, counted from zero.
    function _threeRounds(uint256 wrong) private returns (Evidence[3] memory e) {
        for (uint256 i = 0; i < 3; ++i) {
            e[i] = i == wrong ? _acceptWrong() : _acceptRight();
        }
    }

    /// @dev Nobody shows an accepted result.
    function _leaveUnanswered(Evidence memory e) private {
        _demand(uint32(e.result.round), 10, 0);
        skip(ANSWER_PERIOD);
    }

    // ------------------------------------------------------------------ expectations

    /// @dev At the height `below + 1`.
    function _expectCutAt(uint32 below) private {
        Evidence[3] memory e = _threeRounds(below);
        bytes32 head = federation.model(below).root;
        _registerFor(e[below], WRONG);
        bytes memory proofs = _proofs(e[below], WRONG);
        vm.expectEmit(address(disputes));
        emit IDisputes.RoundRevoked(below + 1, below + 1);
        _challengeWith(e[below], WRONG, proofs);

        assertHead(below, below);
        assertEq(federation.head().root, head);
        for (uint32 i = 0; i < 3; ++i) {
            assertEq(_window(e[i]).canonical, i < below);
            if (i < below) continue;
            vm.expectRevert(abi.encodeWithSelector(IFederation.BeyondHead.selector, below));
            federation.model(i + 1);
        }
        _acceptRight();
        assertHead(below + 1, 4);
        assertEq(_current().base, below);
    }

    /// @dev The round in progress is told to be void once, by the revocation.
    function _expectVoidAfter(Evidence memory e) private {
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectEmit(address(federation));
        emit IFederation.RoundVoided(_round());
        _challengeWith(e, WRONG, proofs);
        assertPhase(Phase.Void);
    }

    function _expectNextRound() private {
        vm.recordLogs();
        federation.openRound();
        assertEq(vm.getRecordedLogs().length, 1);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        assertPhase(Phase.Commit);
        assertEq(_current().base, 0);
    }

    function _expectNeverSlashable() private {
        vm.warp(_current().revealEnd);
        _expectNotSlashable();
        _openRound();
        _expectNotSlashable();
    }

    function _expectNotSlashable() private {
        for (uint256 i = 0; i < 3; ++i) {
            assertFalse(federation.observe(_party(i)).unrevealedSlashable);
            vm.expectRevert(IFederation.NotSlashable.selector);
            federation.slashUnrevealed(_party(i));
        }
    }
}
