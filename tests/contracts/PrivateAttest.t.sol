// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    CountedUpdate,
    IFederation,
    Observation,
    Phase,
    RoundView,
    Signature
} from "../../contracts/interfaces/IFederation.sol";
import {IMasked} from "../../contracts/interfaces/IMasked.sol";
import {
    IPrivateFederation,
    PrivateObservation,
    PrivateResult
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateAttest.tree.
contract PrivateAttestTest is PrivateTest {
    // ------------------------------------------------------------------ attest

    function test_Attest_RevertWhen_ThereIsNoSignature() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        vm.expectRevert(IFederation.EmptyBatch.selector);
        masked.attest(signed, seeds, new Signature[](0));
    }

    function test_Attest_RevertWhen_TheClaimPhaseIsNotOver() public {
        _startClaim(3);
        _claimAll(3, 7);
        _expectRefused(7, IFederation.WrongPhase.selector);
        vm.warp(_private().claimEnd);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _attest(signed, seeds, 1);
    }

    function test_Attest_RevertWhen_TheAttestDeadlineHasPassed() public {
        _startAttest(3);
        vm.warp(_current().attestEnd);
        assertPhase(Phase.Void);
        _expectRefused(7, IFederation.WrongPhase.selector);
    }

    function test_Attest_RevertWhen_TheResultIncludesWhatIsNotLocked() public {
        _startClaim(4);
        _claimAll(2, 15);
        _claim(2, 7);
        _claim(3, 7);
        assertEq(_private().locked, 7);
        _expectRefused(15, IPrivateFederation.NotLocked.selector);
        _expectRefused(11, IPrivateFederation.NotLocked.selector);
    }

    function test_Attest_RevertWhen_TheBitmapHasABitBeyondTheReveals() public {
        _startAttest(3);
        _expectRefused(15, IFederation.InvalidBitmap.selector);
        _expectRefused(1 << 127 | 7, IFederation.InvalidBitmap.selector);
    }

    function test_Attest_RevertWhen_FewerUpdatesAreIncludedThanARoundNeeds() public {
        _startAttest(4);
        _expectRefused(3, IFederation.InvalidBitmap.selector);
        _expectRefused(0, IFederation.InvalidBitmap.selector);
    }

    function test_Attest_RevertWhen_TheResultIsForOtherUpdatesOrAnotherBase() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        signed.result.updatesHash = keccak256("others");
        _expectRefused(signed, seeds, abi.encodeWithSelector(IFederation.StaleResult.selector));
        (signed, seeds) = _privateResult(7);
        signed.result.baseRoot = keccak256("another");
        _expectRefused(signed, seeds, abi.encodeWithSelector(IFederation.StaleResult.selector));
    }

    function test_Attest_RevertWhen_TheNumberOfSeedsIsWrong() public {
        _startAttest(5);
        // Two of five commits are not included: three seeds each.
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        assertEq(seeds.length, 32 * 9);
        uint256[4] memory lengths = [uint256(0), 32 * 8, 32 * 9 - 1, 32 * 10];
        for (uint256 i = 0; i < 4; ++i) {
            bytes memory wrong = new bytes(lengths[i]);
            signed.seedsHash = keccak256(wrong);
            _expectRefused(
                signed, wrong, abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, lengths[i], 32 * 9)
            );
        }
    }

    function test_Attest_RevertWhen_TheSeedsAreNotThoseOfTheResult() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        seeds[95] ^= 0x01;
        _expectRefused(signed, seeds, abi.encodeWithSelector(IMasked.SeedsMismatch.selector));
    }

    function test_Attest_RevertWhen_NoSignatureIsValid() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        Signature[] memory signatures = _only(_sign(_partyKey(0), signed));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        masked.attest(signed, seeds, signatures);
        assertEq(masked.window(1).attestEnd, 0);
    }

    function test_Attest_WhenTheFirstSignatureArrives() public {
        _startAttest(4);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        bytes32 digest = masked.resultDigest(signed);
        assertEq(digest, _resultDigestOf(signed));
        vm.expectEmit(address(masked));
        emit IPrivateFederation.ResultProposed(1, digest, signed);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.SeedsOpened(1, digest, seeds);
        vm.expectEmit(address(masked));
        emit IFederation.Attested(1, digest, _aggregator(0), STAKE);
        _attest(signed, seeds, 1);
        // A wrong seed can be proven in later rounds too: so the number of commits is kept.
        vm.warp(_current().attestEnd);
        _startReveal(5);
        signed.result.round = 1;
        seeds[0] ^= 0x01;
        _registerSeed(signed, 0, stranger);
        vm.expectRevert(IMasked.SeedsMismatch.selector);
        vm.prank(stranger);
        masked.challengeSeed(
            signed,
            _countedMasked(1, 4, 4),
            seeds,
            0,
            _hashes(1, 4, 0),
            _bodyHash(0),
            _valuesRoot(1, 0),
            bytes32("salt")
        );
    }

    function test_Attest_WhenALaterSignatureArrives() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _attest(signed, seeds, 1);
        vm.recordLogs();
        masked.attest(signed, "", _only(_sign(_aggregatorKey(1), signed)));
        assertEq(vm.getRecordedLogs().length, 1);
        (, uint96 stake,) = masked.attestation(masked.resultDigest(signed));
        assertEq(stake, 2 * STAKE);
    }

    function test_Attest_WhenNotAllOfWhatIsLockedIsIncluded() public {
        _startAttest(4);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(13);
        assertEq(seeds.length, 32 * 3 * 2);
        _attest(signed, seeds, 3);
        assertPhase(Phase.Accepted);
    }

    function test_Attest_WhenTheStakeOfTheSignersIsAboveTwoThirds() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _attest(signed, seeds, 2);
        assertPhase(Phase.Attest);
        vm.expectEmit(address(masked));
        emit IFederation.RoundAccepted(1, 1, masked.resultDigest(signed), REWARD);
        masked.attest(signed, "", _only(_sign(_aggregatorKey(2), signed)));
        assertPhase(Phase.Accepted);
        assertEq(masked.head().root, signed.result.globalRoot);
        _openRound();
        assertEq(_current().baseRoot, signed.result.globalRoot);
    }

    function test_Attest_WhenALateSignerComesBeforeTheAttestDeadline() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _attest(signed, seeds, 3);
        uint40 attestEnd = masked.window(1).attestEnd;
        assertEq(attestEnd, _current().attestEnd);
        Signature[] memory late = _only(_sign(_aggregatorKey(3), signed));
        _openRound();
        vm.warp(attestEnd);
        vm.expectRevert(IFederation.WrongPhase.selector);
        masked.attest(signed, "", late);
        vm.warp(attestEnd - 1);
        masked.attest(signed, "", late);
        (, uint96 stake,) = masked.attestation(masked.resultDigest(signed));
        assertEq(stake, 4 * STAKE);
    }

    // ------------------------------------------------------------------ distribute

    function test_Distribute_RevertWhen_TheResultIsUnknown() public {
        PrivateResult memory signed = _startFinal(3);
        signed.seedsHash = keccak256("others");
        vm.expectRevert(IFederation.UnknownResult.selector);
        masked.distribute(signed, _countedMasked(1, 3, 3));
    }

    function test_Distribute_RevertWhen_TheUpdatesAreOthers() public {
        PrivateResult memory signed = _startFinal(3);
        CountedUpdate[] memory counted = _countedMasked(1, 3, 3);
        counted[0].partyAndWeight ^= 1 << 8;
        vm.expectRevert(IFederation.UpdatesMismatch.selector);
        masked.distribute(signed, counted);
    }

    function test_Distribute_WhenTheRoundIsFinal() public {
        _startAttest(4);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(11);
        _attest(signed, seeds, 4);
        vm.warp(_observe().finalizableAt);
        masked.finalize();
        masked.distribute(signed, _countedMasked(1, 4, 4));
        uint256 share = (REWARD - REWARD / 5) / 3;
        assertEq(_creditOf(_party(0)), share);
        assertEq(_creditOf(_party(1)), share);
        assertEq(_creditOf(_party(2)), 0);
        assertEq(_creditOf(_party(3)), share);
        assertEq(_creditOf(_aggregator(0)), REWARD / 5 / 4);
    }

    // ------------------------------------------------------------------ observe

    function test_Observe_WhenNoRoundWasOpened() public {
        assertEq(abi.encode(_private()), abi.encode(PrivateObservation(0, 0, 0, 0, false, 0)));
        masked.openRound();
        assertEq(abi.encode(_private()), abi.encode(PrivateObservation(0, 0, 0, 0, false, 0)));
        assertEq(_current().attestEnd, 0);
    }

    function test_Observe_WhenTheCommitPhaseHasBegun() public {
        _openRound();
        (Observation memory seen, PrivateObservation memory more) = masked.observe(_party(0));
        RoundView memory round = seen.current;
        assertEq(round.revealEnd, round.commitEnd + 2 hours);
        assertEq(more.claimEnd, round.revealEnd + 30 minutes);
        assertEq(round.attestEnd, more.claimEnd + 3 hours);
        assertTrue(seen.drawn);
        assertEq(seen.party.frozenStake, STAKE);
    }

    function test_Observe_WhenAClaimHasEndedTheClaimPhase() public {
        _startClaim(3);
        vm.warp(block.timestamp + 1 minutes);
        _claimAll(AGGREGATORS, 7);
        assertEq(_private().claimEnd, block.timestamp);
        assertEq(_private().locked, 7);
        assertEq(_private().claimedSeats, 15);
        assertPhase(Phase.Attest);
    }

    function test_Observe_WhenTheRoundIsAccepted() public {
        _startAccepted(3);
        assertEq(_private().locked, 7);
        // What decodes only the first struct sees the phase of the private round.
        assertEq(uint8(federation.observe(stranger).current.phase), uint8(Phase.Accepted));
    }

    // ------------------------------------------------------------------ helpers

    function _creditOf(address account) private view returns (uint96) {
        return federation.observe(account).credit;
    }

    function _expectRefused(uint128 included, bytes4 reason) private {
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(included);
        _expectRefused(signed, seeds, abi.encodeWithSelector(reason));
    }

    function _expectRefused(PrivateResult memory signed, bytes memory seeds, bytes memory reason) private {
        Signature[] memory signatures = _signatures(signed, 1);
        vm.expectRevert(reason);
        masked.attest(signed, seeds, signatures);
    }
}
