// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommitView, IFederation, Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {IPrivateFederation, SignedMaskedCommit} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateCommit.tree.
contract PrivateCommitTest is PrivateTest {
    bytes32 internal constant KEY = bytes32(uint256(1));
    bytes32 internal constant OFF_CURVE = bytes32(uint256(5));

    // ------------------------------------------------------------------ commit

    function test_Commit_RevertWhen_NoRoundWasOpened() public {
        _expectRefused(_party(0), 1, KEY, IFederation.WrongPhase.selector);
        federation.openRound();
        _expectRefused(_party(0), 1, KEY, IFederation.WrongPhase.selector);
    }

    function test_Commit_RevertWhen_TheCommitPhaseIsOver() public {
        _startReveal(3);
        _expectRefused(_party(3), 1, KEY, IFederation.WrongPhase.selector);
    }

    function test_Commit_RevertWhen_ItIsForAnotherRound() public {
        _openRound();
        for (uint32 round = 0; round <= 2; round += 2) {
            vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 1));
            vm.prank(_party(0));
            masked.commit(round, 1, KEY);
        }
    }

    function test_Commit_RevertWhen_TheWeightIsZero() public {
        _openRound();
        _expectRefused(_party(0), 0, KEY, IFederation.InvalidWeight.selector);
    }

    function test_Commit_RevertWhen_TheMaskKeyIsNotOnTheCurve() public {
        _openRound();
        _expectRefused(_party(0), 1, 0, IPrivateFederation.InvalidKey.selector);
        _expectRefused(_party(0), 1, OFF_CURVE, IPrivateFederation.InvalidKey.selector);
        _expectRefused(_party(0), 1, bytes32(type(uint256).max), IPrivateFederation.InvalidKey.selector);
    }

    function test_Commit_RevertWhen_WeightAndKeyAreZeroAndThePartyIsNotAbsent() public {
        _openRound();
        _expectRefused(_party(0), 0, 0, IFederation.ZeroCommitment.selector);
        _expectRefused(stranger, 0, 0, IFederation.ZeroCommitment.selector);
    }

    function test_Commit_RevertWhen_TheAccountHasNoStake() public {
        _openRound();
        _expectRefused(stranger, 1, KEY, IFederation.NotRegistered.selector);
    }

    function test_Commit_RevertWhen_ThePartyHasCommitted() public {
        _openRound();
        _commitMasked(0);
        _expectRefused(_party(0), 1, KEY, IFederation.AlreadyCommitted.selector);
    }

    function test_Commit_WhenWeightAndKeyAreZeroAndThePartyIsAbsent() public {
        _makeAbsent(4);
        _openRound();
        uint32 round = _round();
        uint8 quota = _current().commitQuota;
        vm.expectEmit(address(masked));
        emit IFederation.MarkedPresent(round, _party(4));
        vm.prank(_party(4));
        masked.commit(round, 0, 0);
        assertEq(_current().commitQuota, quota + 1);
        assertEq(_current().commits, 0);
        assertEq(_private().commitsHash, 0);
        assertFalse(_observeParty(4).absent);
        _commitMasked(4);
        assertEq(_current().commits, 1);
    }

    function test_Commit_WhenAnotherPartyHasTheSameMaskKey() public {
        _openRound();
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(_party(i));
            masked.commit(1, 1, KEY);
        }
        assertEq(_current().commits, 2);
    }

    function test_Commit_WhenAnEarlierCommitWasNeverRevealed() public {
        _startReveal(4);
        for (uint256 i = 0; i < 3; ++i) {
            _revealMasked(i);
        }
        vm.warp(_current().attestEnd);
        _openRound();
        uint96 stake = _stakeOf(_party(3));
        vm.expectEmit(address(masked));
        emit IFederation.Slashed(_party(3), Role.Party, 1, stake / 10, stake / 10);
        _commitMasked(3);
        assertEq(_stakeOf(_party(3)), stake - stake / 10);
        assertEq(_current().commits, 1);
    }

    function test_Commit_WhenEverybodyHasCommitted() public {
        _openRound();
        for (uint256 i = 0; i < PARTIES; ++i) {
            assertPhase(Phase.Commit);
            _commitMasked(i);
        }
        assertPhase(Phase.Reveal);
        assertEq(_current().commitEnd, block.timestamp);
        assertEq(_private().claimEnd, block.timestamp + 2 hours + 30 minutes);
        assertEq(_current().attestEnd, _private().claimEnd + 3 hours);
    }

    function test_Commit_WhenThePartyMayCommit() public {
        _startFinal(4);
        _openRound();
        bytes32 rolled = _current().baseRoot;
        assertEq(rolled, masked.head().root);
        for (uint256 i = 0; i < 3; ++i) {
            bytes32 key = _maskKey(i);
            vm.expectEmit(address(masked));
            emit IPrivateFederation.Committed(2, _party(i), i, _weight(i), key);
            _commitMasked(i);
            rolled = keccak256(abi.encode(rolled, uint256(uint160(_party(i))) << 96 | _weight(i), key));
            assertEq(_private().commitsHash, rolled);
            assertEq(uint208(_observeParty(i).commitment), i << 8 | _weight(i));
            assertEq(_observeParty(i).round, 2);
        }
    }

    /// @dev Any weight and any key of the curve.
    function testFuzz_a_commit_shows_weight_and_key(uint8 weight, bytes32 secret) public {
        weight = uint8(bound(weight, 1, 255));
        bytes32 key = _point(secret);
        _openRound();
        vm.prank(_party(0));
        masked.commit(1, weight, key);
        uint256 word = uint256(uint160(_party(0))) << 96 | weight;
        assertEq(_private().commitsHash, keccak256(abi.encode(_current().baseRoot, word, key)));
        assertEq(uint208(_observeParty(0).commitment), weight);
    }

    // ------------------------------------------------------------------ commitFor

    function test_CommitFor_RevertWhen_TheBatchIsEmpty() public {
        _openRound();
        vm.expectRevert(IFederation.EmptyBatch.selector);
        masked.commitFor(new SignedMaskedCommit[](0));
    }

    function test_CommitFor_RevertWhen_NoItemIsValid() public {
        _openRound();
        SignedMaskedCommit[] memory batch = new SignedMaskedCommit[](2);
        batch[0] = _signedBy(_partyKey(0), _party(0), 1, OFF_CURVE);
        batch[1] = _signedBy(_partyKey(1), _party(1), 0, KEY);
        _expectNothingAccepted(IPrivateFederation.InvalidKey.selector);
        masked.commitFor(batch);
    }

    function test_CommitFor_RevertWhen_AnotherAccountSigned() public {
        _openRound();
        _expectInvalid(_signedBy(_partyKey(1), _party(0), 1, KEY));
        SignedMaskedCommit memory nobody = _maskedCommit(0);
        (nobody.party, nobody.r) = (address(0), 0);
        _expectInvalid(nobody);
    }

    function test_CommitFor_RevertWhen_AFieldIsNotWhatWasSigned() public {
        _openRound();
        SignedMaskedCommit memory signed = _maskedCommit(0);
        --signed.weight;
        _expectInvalid(signed);
        signed = _maskedCommit(0);
        signed.maskKey = KEY;
        _expectInvalid(signed);
        signed = _maskedCommit(0);
        vm.warp(_current().commitEnd);
        _openRound();
        _expectInvalid(signed);
    }

    function test_CommitFor_WhenAnAbsentPartyHasSignedTheWish() public {
        _makeAbsent(4);
        masked.commitFor(_only(_signedBy(_partyKey(4), _party(4), 0, 0)));
        assertFalse(_observeParty(4).absent);
    }

    function test_CommitFor_WhenSomeItemsAreInvalid() public {
        _openRound();
        SignedMaskedCommit[] memory batch = new SignedMaskedCommit[](3);
        batch[0] = _maskedCommit(0);
        batch[1] = _signedBy(_partyKey(1), _party(1), 1, OFF_CURVE);
        batch[2] = _maskedCommit(2);
        vm.expectEmit(address(masked));
        emit IFederation.CommitSkipped(1, _party(1), IPrivateFederation.InvalidKey.selector);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.Committed(1, _party(2), 1, _weight(2), _maskKey(2));
        masked.commitFor(batch);
        assertEq(_current().commits, 2);
    }

    function test_CommitFor_WhenEveryItemIsValid() public {
        _openRound();
        SignedMaskedCommit[] memory batch = new SignedMaskedCommit[](PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            batch[i] = _maskedCommit(i);
            bytes32 digest = masked.commitDigest(1, _party(i), _weight(i), _maskKey(i));
            assertEq(ecrecover(digest, _v(batch[i].vs), batch[i].r, _s(batch[i].vs)), _party(i));
        }
        masked.commitFor(batch);
        assertPhase(Phase.Reveal);
    }

    // ------------------------------------------------------------------ helpers

    function _v(bytes32 vs) private pure returns (uint8) {
        return uint8(27 + uint256(vs >> 255));
    }

    function _s(bytes32 vs) private pure returns (bytes32) {
        return vs & bytes32(type(uint256).max >> 1);
    }

    function _observeParty(uint256 i) private view returns (CommitView memory) {
        return federation.observe(_party(i)).committed;
    }

    /// @dev It misses three rounds in a row, in which all others commit.
    function _makeAbsent(uint256 i) private {
        for (uint256 round = 0; round < 3; ++round) {
            _startAccepted(i);
        }
        masked.markAbsent(_party(i));
        assertTrue(_observeParty(i).absent);
    }

    function _expectRefused(address party, uint8 weight, bytes32 key, bytes4 reason) private {
        uint32 round = _round();
        vm.expectRevert(reason);
        vm.prank(party);
        masked.commit(round, weight, key);
    }

    function _expectInvalid(SignedMaskedCommit memory signed) private {
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        masked.commitFor(_only(signed));
    }
}
