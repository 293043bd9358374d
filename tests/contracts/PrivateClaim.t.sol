// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {
    IPrivateFederation,
    PrivateObservation,
    PrivateResult,
    SignedClaim
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateClaim.tree. Four aggregators with equal stakes: three are more than two thirds.
contract PrivateClaimTest is PrivateTest {
    function test_Claim_RevertWhen_TheBatchIsEmpty() public {
        _startClaim(3);
        vm.expectRevert(IFederation.EmptyBatch.selector);
        masked.claim(new SignedClaim[](0));
    }

    function test_Claim_RevertWhen_TheRevealPhaseIsNotOver() public {
        _startReveal(3);
        _revealMasked(0);
        _expectWrongPhase(_signedClaim(0, 1));
    }

    function test_Claim_RevertWhen_TheClaimPhaseIsOver() public {
        _startClaim(3);
        SignedClaim memory late = _signedClaim(3, 7);
        _claimAll(3, 7);
        vm.warp(_private().claimEnd);
        assertPhase(Phase.Attest);
        _expectWrongPhase(late);
    }

    function test_Claim_RevertWhen_TheRoundIsVoid() public {
        _startReveal(3);
        _revealMasked(0);
        vm.warp(_current().revealEnd);
        assertPhase(Phase.Void);
        _expectWrongPhase(_signedClaim(0, 1));
    }

    function test_Claim_RevertWhen_TheClaimHasABitBeyondTheReveals() public {
        _startClaim(3);
        _expectRefused(_signedClaim(0, 8), IFederation.InvalidBitmap.selector);
        _expectRefused(_signedClaim(0, 1 << 127 | 7), IFederation.InvalidBitmap.selector);
    }

    function test_Claim_RevertWhen_TheSeatHasClaimed() public {
        _startClaim(3);
        _claim(0, 3);
        _expectRefused(_signedClaim(0, 7), IPrivateFederation.AlreadyClaimed.selector);
        _expectRefused(_signedClaim(0, 3), IPrivateFederation.AlreadyClaimed.selector);
        assertEq(_privateOf(_aggregator(0)).held, 3);
    }

    function test_Claim_RevertWhen_TheSignerIsNoAggregator() public {
        _startClaim(3);
        _expectRefused(_signedWith(_partyKey(0), 7), IFederation.NotAnAggregator.selector);
    }

    function test_Claim_RevertWhen_TheSignerHasRegisteredAfterTheFreeze() public {
        federation.openRound();
        _join(_aggregator(4), Role.Aggregator, STAKE);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        for (uint256 i = 0; i < 3; ++i) {
            _commitMasked(i);
        }
        vm.warp(_current().commitEnd);
        for (uint256 i = 0; i < 3; ++i) {
            _revealMasked(i);
        }
        _expectRefused(_signedClaim(4, 7), IFederation.NotAnAggregator.selector);
    }

    function test_Claim_RevertWhen_TheSignatureIsMalformed() public {
        _startClaim(3);
        SignedClaim memory signed = _signedClaim(0, 7);
        signed.r = 0;
        _expectRefused(signed, IFederation.InvalidSignature.selector);
    }

    function test_Claim_RevertWhen_ItWasSignedForOtherCommitsOrUpdates() public {
        _startReveal(3);
        _revealMasked(0);
        SignedClaim memory early = _signedClaim(0, 1);
        _revealMasked(1);
        _revealMasked(2);
        // It recovers to some other account.
        _expectRefused(early, IFederation.NotAnAggregator.selector);
        _claimAll(AGGREGATORS, 7);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _attest(signed, seeds, 3);
        SignedClaim memory old = _signedClaim(0, 7);
        _startClaim(3);
        _expectRefused(old, IFederation.NotAnAggregator.selector);
    }

    function test_Claim_WhenTheStakeOfTheHoldersIsTwoThirdsExactly() public {
        _withStakes([uint256(2), 2, 1, 1]);
        _startClaim(3);
        _claim(0, 7);
        _claim(1, 7);
        assertEq(_private().locked, 0);
        _claim(2, 7);
        assertEq(_private().locked, 7);
    }

    function test_Claim_WhenTheStakeOfTheHoldersIsAboveTwoThirds() public {
        _startClaim(4);
        _claim(0, 15);
        _claim(1, 15);
        assertEq(_private().locked, 0);
        _claim(2, 15);
        assertEq(_private().locked, 15);
        assertPhase(Phase.Claim);
    }

    function test_Claim_WhenTheHoldersHoldDifferentUpdates() public {
        _startClaim(5);
        uint128[4] memory held = [uint128(31), 15, 23, 27];
        for (uint256 i = 0; i < 4; ++i) {
            _claim(i, held[i]);
        }
        // Of the third update three of four, of the fourth one and the fifth one too.
        assertEq(_private().locked, 31);
        vm.warp(_current().attestEnd);
        _startClaim(5);
        held = [uint128(31), 3, 1, 9];
        for (uint256 i = 0; i < 4; ++i) {
            _claim(i, held[i]);
        }
        assertEq(_private().locked, 1);
    }

    function test_Claim_WhenAHolderWasSlashed() public {
        // The first aggregator alone has signed a wrong seed: that revokes nothing.
        _startAttest(3);
        (PrivateResult memory right, bytes memory seeds) = _privateResult(7);
        PrivateResult memory wrong = abi.decode(abi.encode(right), (PrivateResult));
        bytes memory wrongSeeds = abi.decode(abi.encode(seeds), (bytes));
        wrongSeeds[0] ^= 0x01;
        wrong.seedsHash = keccak256(wrongSeeds);
        _attest(wrong, wrongSeeds, 1);
        _attest(right, seeds, AGGREGATORS);

        _startClaim(3);
        _claim(0, 7);
        _claim(1, 7);
        _challengeFirstSeed(wrong, wrongSeeds, 3);
        masked.slashSigner(_resultDigestOf(wrong), 0);
        _claim(2, 7);
        assertEq(_private().locked, 0);
        _claim(3, 7);
        assertEq(_private().locked, 7);
        // The stake that was slashed can no longer claim, so the phase is not complete.
        assertPhase(Phase.Claim);
    }

    function test_Claim_WhenTheLastOfTheStakeClaims() public {
        _startClaim(3);
        uint40 attestEnd = _current().attestEnd;
        _claimAll(3, 7);
        vm.warp(block.timestamp + 10 minutes);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.ClaimPhaseCompleted(1, block.timestamp);
        _claim(3, 7);
        assertPhase(Phase.Attest);
        assertEq(_private().claimEnd, block.timestamp);
        assertEq(_current().attestEnd, attestEnd);
    }

    function test_Claim_WhenThePhaseEndsWithFewerUpdatesLockedThanARoundNeeds() public {
        _startClaim(4);
        _claimAll(AGGREGATORS, 9);
        assertEq(_private().locked, 9);
        assertPhase(Phase.Void);
        _startClaim(4);
        vm.warp(_private().claimEnd - 1);
        assertPhase(Phase.Claim);
        vm.warp(_private().claimEnd);
        assertPhase(Phase.Void);
        _openRound();
        assertEq(_round(), 3);
    }

    function test_Claim_WhenSomeClaimsAreInvalid() public {
        _startClaim(3);
        SignedClaim[] memory batch = new SignedClaim[](4);
        batch[0] = _signedClaim(0, 7);
        batch[1] = _signedClaim(0, 3);
        batch[2] = _signedClaim(1, 8);
        batch[3] = _signedClaim(2, 5);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.ClaimSkipped(1, _aggregator(0), IPrivateFederation.AlreadyClaimed.selector);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.ClaimSkipped(1, _aggregator(1), IFederation.InvalidBitmap.selector);
        masked.claim(batch);
        assertEq(_private().claimedSeats, 5);
    }

    function test_Claim_WhenARoundBeforeHadClaims() public {
        _startAccepted(3);
        _startReveal(4);
        PrivateObservation memory seen = _privateOf(_aggregator(0));
        assertEq(seen.locked, 0);
        assertEq(seen.claimedSeats, 0);
        assertFalse(seen.claimed);
        assertEq(seen.held, 0);
        for (uint256 i = 0; i < 4; ++i) {
            _revealMasked(i);
        }
        _claim(0, 15);
        assertEq(_private().claimedSeats, 1);
        assertEq(_private().locked, 0);
    }

    function test_Claim_WhenTheClaimIsValid() public {
        _startClaim(3);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.Claimed(1, _aggregator(2), 2, 5);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.Locked(1, 0);
        _claim(2, 5);
        PrivateObservation memory seen = _privateOf(_aggregator(2));
        assertEq(seen.claimedSeats, 4);
        assertTrue(seen.claimed);
        assertEq(seen.held, 5);
        seen = _privateOf(stranger);
        assertFalse(seen.claimed);
        assertEq(seen.held, 0);
    }

    /// @dev Any stakes and claims: an update is locked if those who hold it have more than two thirds.
    function testFuzz_the_lock_is_what_two_thirds_hold(uint256[4] memory stakes, uint128[4] memory held)
        public
    {
        uint256 total = 0;
        for (uint256 i = 0; i < 4; ++i) {
            stakes[i] = bound(stakes[i], 1, 6);
            held[i] &= 31;
            total += stakes[i];
        }
        _withStakes(stakes);
        _startClaim(5);
        for (uint256 i = 0; i < 4; ++i) {
            _claim(i, held[i]);
        }
        for (uint256 place = 0; place < 5; ++place) {
            uint256 stake = 0;
            for (uint256 i = 0; i < 4; ++i) {
                if (held[i] >> place & 1 == 1) stake += stakes[i];
            }
            assertEq(_private().locked >> place & 1 == 1, 3 * stake > 2 * total);
        }
    }

    // ------------------------------------------------------------------ helpers

    /// @dev A new federation, with these stakes of its aggregators, in ether.
    function _withStakes(uint256[4] memory stakes) private {
        _use(_deployPrivate(_terms(), _privateTerms()));
        _populate(PARTIES, 0);
        for (uint256 i = 0; i < 4; ++i) {
            _join(_aggregator(i), Role.Aggregator, stakes[i] * 1 ether);
        }
    }

    function _signedWith(uint256 key, uint128 held) private view returns (SignedClaim memory signed) {
        signed.held = held;
        (signed.r, signed.vs) = vm.signCompact(key, _heldDigest(held));
    }

    function _expectWrongPhase(SignedClaim memory signed) private {
        vm.expectRevert(IFederation.WrongPhase.selector);
        masked.claim(_only(signed));
    }

    function _expectRefused(SignedClaim memory signed, bytes4 reason) private {
        _expectNothingAccepted(reason);
        masked.claim(_only(signed));
    }
}
