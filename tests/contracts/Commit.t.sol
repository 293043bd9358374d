// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    CommitView,
    IFederation,
    Params,
    Phase,
    Role,
    RoundView
} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit} from "../../contracts/interfaces/IPlainFederation.sol";
import {Sortition} from "../../contracts/libraries/Sortition.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {Reenterer} from "./support/Receivers.sol";

/// @notice See Commit.tree.
contract CommitTest is FederationTest {
    bytes32 internal constant SOME = keccak256("some commitment");

    // ------------------------------------------------------------------ commit

    function test_Commit_RevertWhen_NoRoundWasOpened() public {
        _expectRefused(_party(0), SOME, IFederation.WrongPhase.selector);
    }

    function test_Commit_RevertWhen_TheRoundIsNotOpenYet() public {
        federation.openRound();
        _expectRefused(_party(0), SOME, IFederation.WrongPhase.selector);
    }

    function test_Commit_RevertWhen_TheCommitPhaseIsOver() public {
        _openRound();
        _commitFirst(2);
        vm.warp(_current().commitEnd);
        _expectRefused(_party(2), SOME, IFederation.WrongPhase.selector);
        vm.warp(_current().revealEnd);
        _expectRefused(_party(2), SOME, IFederation.WrongPhase.selector);
    }

    function test_Commit_RevertWhen_ItIsForAnotherRound() public {
        _openRound();
        for (uint32 round = 0; round <= 2; round += 2) {
            vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 1));
            vm.prank(_party(0));
            federation.commit(round, SOME);
        }
    }

    function test_Commit_RevertWhen_WhatIsKeptOfTheCommitmentIsZero() public {
        _openRound();
        _expectRefused(_party(0), 0, IFederation.ZeroCommitment.selector);
        _expectRefused(_party(0), bytes32(uint256(2 ** 48 - 1)), IFederation.ZeroCommitment.selector);
    }

    function test_Commit_RevertWhen_TheAccountHasNoStake() public {
        _openRound();
        _expectRefused(stranger, SOME, IFederation.NotRegistered.selector);
        _expectRefused(_aggregator(0), SOME, IFederation.NotRegistered.selector);
    }

    function test_Commit_RevertWhen_ThePartyRegisteredAfterTheSeedBlockWasNamed() public {
        federation.openRound();
        _join(_party(5), Role.Party, STAKE);
        vm.roll(block.number + 2);
        federation.openRound();
        _expectRefused(_party(5), SOME, IFederation.NotActive.selector);
        assertFalse(federation.observe(_party(5)).drawn);
    }

    function test_Commit_RevertWhen_ThePartyWasUnbondingBefore() public {
        _requestUnbond(_party(0), Role.Party);
        _openRound();
        _expectRefused(_party(0), SOME, IFederation.NotActive.selector);
    }

    function test_Commit_RevertWhen_TheStakeWasBelowTheMinimumBefore() public {
        Params memory p = _consortium();
        p.unrevealedSlashBps = 5_001;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toReveal(3);
        _endPhase();
        federation.slashUnrevealed(_party(0));
        _openRound();
        _expectRefused(_party(0), SOME, IFederation.NotActive.selector);
    }

    function test_Commit_RevertWhen_ThePartyWasNotDrawn() public {
        _openCrowd(20);
        uint256 refused = 0;
        for (uint256 i = 0; i < 20; ++i) {
            if (federation.observe(_party(i)).drawn) continue;
            _expectRefused(_party(i), SOME, IFederation.NotDrawn.selector);
            ++refused;
        }
        assertGt(refused, 0);
        assertLt(refused, 20);
    }

    function test_Commit_RevertWhen_ThePartyHasCommitted() public {
        _openRound();
        _commit(0);
        _expectRefused(_party(0), SOME, IFederation.AlreadyCommitted.selector);
        _expectRefused(_party(0), _commitment(_update(0)), IFederation.AlreadyCommitted.selector);
    }

    function test_Commit_WhenThePartyAskedToLeaveAfterTheSeedBlockWasNamed() public {
        federation.openRound();
        _requestUnbond(_party(0), Role.Party);
        vm.roll(block.number + 2);
        federation.openRound();
        _commit(0);
        assertEq(_current().commits, 1);
    }

    function test_Commit_WhenAContractCommits() public {
        Reenterer wallet = new Reenterer();
        _join(address(wallet), Role.Party, STAKE);
        _openRound();
        wallet.execute(address(federation), 0, abi.encodeCall(IPlainFederation.commit, (1, SOME)));
        assertEq(federation.observe(address(wallet)).committed.commitment, bytes26(SOME));
    }

    function test_Commit_WhenAnEarlierCommitWasNeverRevealed() public {
        _toReveal(3);
        _endPhase();
        _openRound();
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_party(0), Role.Party, 1, STAKE / 10, STAKE / 10);
        _commit(0);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
        CommitView memory seen = federation.observe(_party(0)).committed;
        assertEq(seen.round, 2);
        assertFalse(federation.observe(_party(0)).unrevealedSlashable);
    }

    function test_Commit_WhenEverybodyHasCommitted() public {
        _openRound();
        uint256 attestEnd = _current().attestEnd;
        _commitFirst(PARTIES - 1);
        skip(10 minutes);
        vm.expectEmit(address(federation));
        emit IFederation.CommitPhaseCompleted(1, block.timestamp);
        _commit(PARTIES - 1);
        RoundView memory round = _current();
        assertEq(uint8(round.phase), uint8(Phase.Reveal));
        assertEq(round.commitEnd, block.timestamp);
        assertEq(round.revealEnd, block.timestamp + 2 hours);
        assertEq(round.attestEnd, attestEnd - 50 minutes);
    }

    function test_Commit_WhenACrowdHasCommittedAsMuchAsMayBe() public {
        address[] memory drawn = _openCrowdedRound();
        for (uint256 i = 0; i < 8; ++i) {
            assertPhase(Phase.Commit);
            vm.prank(drawn[i]);
            federation.commit(1, SOME);
        }
        assertPhase(Phase.Reveal);
        assertEq(_current().commitEnd, block.timestamp);
    }

    function test_Commit_WhenThePartyMayCommit() public {
        _openRound();
        vm.expectEmit(address(federation));
        emit IPlainFederation.Committed(1, _party(0), SOME);
        vm.prank(_party(0));
        federation.commit(1, SOME);
        CommitView memory seen = federation.observe(_party(0)).committed;
        assertEq(seen.commitment, bytes26(SOME));
        assertEq(seen.round, 1);
        assertFalse(seen.revealed);
        assertEq(_current().commits, 1);
    }

    // ------------------------------------------------------------------ commitFor

    function test_CommitFor_RevertWhen_TheBatchIsEmpty() public {
        _openRound();
        vm.expectRevert(IFederation.EmptyBatch.selector);
        federation.commitFor(new SignedCommit[](0));
    }

    function test_CommitFor_RevertWhen_ThePhaseIsWrong() public {
        federation.openRound();
        _expectRefusedBatch(_only(_signedCommit(0)), IFederation.WrongPhase.selector);
        _toRevealFromSeeding();
        _expectRefusedBatch(_only(_signedCommit(3)), IFederation.WrongPhase.selector);
    }

    function test_CommitFor_RevertWhen_NoItemIsValid() public {
        _openRound();
        _commit(1);
        SignedCommit[] memory batch = new SignedCommit[](2);
        batch[0] = _signedCommit(1);
        batch[1] = _signedCommit(0);
        batch[1].commitment = SOME;
        _expectRefusedBatch(batch, IFederation.AlreadyCommitted.selector);
    }

    function test_CommitFor_RevertWhen_AnotherAccountSigned() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(0);
        signed.party = _party(1);
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        // Not even for its own commitment.
        signed = _signedCommit(1);
        (signed.r, signed.vs) =
            vm.signCompact(_partyKey(0), federation.commitDigest(1, _party(1), signed.commitment));
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
    }

    function test_CommitFor_RevertWhen_TheSignatureIsMalformed() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(0);
        signed.r = 0;
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        signed.r = bytes32(N);
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        signed = _signedCommit(0);
        signed.vs ^= bytes32(uint256(1) << 255); // the other v
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        signed.vs = 0;
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        // A signature that recovers to the zero account does not speak for it.
        signed.party = address(0);
        _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
    }

    function test_CommitFor_RevertWhen_SIsInTheUpperHalfOfTheOrder() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(0);
        for (uint256 parity = 0; parity < 2; ++parity) {
            signed.vs = bytes32(parity << 255 | (N / 2 + 1));
            _expectRefusedBatch(_only(signed), IFederation.InvalidSignature.selector);
        }
    }

    function test_CommitFor_WhenSomeItemsAreInvalid() public {
        _openRound();
        SignedCommit[] memory batch = new SignedCommit[](4);
        batch[0] = _signedCommit(0);
        batch[0].r = 0;
        batch[1] = _signedCommit(1);
        batch[2] = _signedCommit(7);
        batch[3] = _signedCommit(3);
        _expectSkipped(_party(0), IFederation.InvalidSignature.selector);
        _expectCommitted(batch[1]);
        _expectSkipped(_party(7), IFederation.NotRegistered.selector);
        _expectCommitted(batch[3]);
        federation.commitFor(batch);
        assertEq(_current().commits, 2);
        assertEq(federation.observe(_party(0)).committed.round, 0);
        assertEq(federation.observe(_party(3)).committed.commitment, bytes26(batch[3].commitment));
    }

    function test_CommitFor_WhenAPartyIsInTheBatchTwice() public {
        _openRound();
        SignedCommit[] memory batch = new SignedCommit[](2);
        batch[0] = _signedCommit(0);
        batch[1] = batch[0];
        _expectSkipped(_party(0), IFederation.AlreadyCommitted.selector);
        federation.commitFor(batch);
        assertEq(_current().commits, 1);
    }

    function test_CommitFor_WhenThePhaseEndsInTheMiddle() public {
        _openRound();
        _commitFirst(PARTIES - 1);
        SignedCommit[] memory batch = new SignedCommit[](2);
        batch[0] = _signedCommit(PARTIES - 1);
        batch[1] = _signedCommit(0);
        _expectSkipped(_party(0), IFederation.WrongPhase.selector);
        federation.commitFor(batch);
        assertPhase(Phase.Reveal);
    }

    function test_CommitFor_WhenEveryItemIsValid() public {
        _openRound();
        SignedCommit[] memory batch = new SignedCommit[](PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            batch[i] = _signedCommit(i);
        }
        vm.prank(stranger);
        federation.commitFor(batch);
        assertEq(_current().commits, PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            assertEq(federation.observe(_party(i)).committed.commitment, bytes26(batch[i].commitment));
        }
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Of a batch, the good ones are committed, whatever the others are.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_BadItemsNeverSinkGoodOnes(uint256 seed, uint8 length) public {
        _openRound();
        length = uint8(bound(length, 1, 12));
        SignedCommit[] memory batch = new SignedCommit[](length);
        bool[] memory good = new bool[](PARTIES);
        uint256 expected = 0;
        for (uint256 k = 0; k < length; ++k) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 party = seed % (PARTIES + 1);
            uint256 kind = (seed >> 8) % 6;
            batch[k] = _signedCommit(party);
            if (kind == 0) batch[k].r = bytes32(seed);
            if (kind == 1) batch[k].vs = bytes32(seed);
            if (kind == 2) batch[k].commitment = bytes32(seed);
            if (kind == 3) batch[k].party = address(uint160(seed));
            // `vs` at random may be the high half of the order, or recover another account.
            if (kind < 4 || party == PARTIES || good[party]) continue;
            good[party] = true;
            ++expected;
        }
        if (expected == 0) vm.expectRevert();
        federation.commitFor(batch);
        assertEq(_current().commits, expected);
        for (uint256 i = 0; i < PARTIES; ++i) {
            assertEq(federation.observe(_party(i)).committed.round, good[i] ? 1 : 0);
        }
    }

    /// @dev What is kept is the high 208 bits.
    function testFuzz_ACommitmentIsCutTo208Bits(bytes32 commitment) public {
        vm.assume(bytes26(commitment) != 0);
        _openRound();
        vm.prank(_party(0));
        federation.commit(1, commitment);
        CommitView memory seen = federation.observe(_party(0)).committed;
        assertEq(bytes32(seen.commitment), commitment >> 48 << 48);
        assertEq(seen.round, 1);
    }

    /// @dev The contract draws as the library does, from frozen stakes of any size.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_TheDrawIsTheLibrarys(uint96[4] memory stakes, bytes32 blockHash) public {
        vm.assume(blockHash != 0);
        federation = _deploy(_crowd());
        _populate(0, 1);
        uint256 total = 0;
        for (uint256 i = 0; i < 4; ++i) {
            // From a thousandth to all that fits.
            stakes[i] = uint96(bound(stakes[i], MIN_STAKE, i % 2 == 0 ? 1_000 ether : 2 ** 95 - 1_000 ether));
            if (total + stakes[i] > type(uint96).max) stakes[i] = MIN_STAKE;
            total += stakes[i];
            _register(_party(i), Role.Party, stakes[i]);
        }
        federation.openRound();
        _deposit(_party(0), 1 ether);
        vm.roll(_current().seedBlock + 1);
        vm.setBlockhash(_current().seedBlock, blockHash);
        federation.openRound();
        assertEq(_current().partyStake, total);
        for (uint256 i = 0; i < 4; ++i) {
            bool drawn = Sortition.drawn(_current().seed, _party(i), stakes[i], total, 4);
            assertEq(federation.observe(_party(i)).drawn, drawn);
            if (!drawn) vm.expectRevert(IFederation.NotDrawn.selector);
            vm.prank(_party(i));
            federation.commit(1, SOME);
        }
    }

    // ------------------------------------------------------------------ steps

    function _toRevealFromSeeding() private {
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(2);
        _endPhase();
    }

    function _openCrowd(uint256 parties) private {
        federation = _deploy(_crowd());
        _populate(parties, 1);
        _openRound();
    }

    /// @dev A round of a crowd that draws as many as may commit, though a quarter as many are expected.
    function _openCrowdedRound() private returns (address[] memory drawn) {
        Params memory p = _crowd();
        (p.participants, p.minUpdates, p.maxUpdates) = (2, 1, 8);
        federation = _deploy(p);
        _populate(40, 1);
        address[] memory parties = new address[](40);
        for (uint256 i = 0; i < 40; ++i) {
            parties[i] = _party(i);
        }
        federation.openRound();
        uint256 seedBlock = _current().seedBlock;
        vm.roll(seedBlock + 1);
        for (uint256 nonce = 0; drawn.length < 8; ++nonce) {
            bytes32 seed = keccak256(abi.encode(bytes32(0), bytes32(nonce + 1), uint256(1)));
            drawn = _drawnOf(parties, seed);
            if (drawn.length >= 8) vm.setBlockhash(seedBlock, bytes32(nonce + 1));
        }
        federation.openRound();
    }

    function _drawnOf(address[] memory parties, bytes32 seed) private pure returns (address[] memory drawn) {
        uint256 count = 0;
        drawn = new address[](parties.length);
        for (uint256 i = 0; i < parties.length; ++i) {
            if (Sortition.drawn(seed, parties[i], STAKE, 40 * STAKE, 2)) drawn[count++] = parties[i];
        }
        assembly ("memory-safe") {
            mstore(drawn, count)
        }
    }

    // ------------------------------------------------------------------ expectations

    function _expectRefused(address party, bytes32 commitment, bytes4 reason) private {
        uint32 round = _round();
        vm.expectRevert(reason);
        vm.prank(party);
        federation.commit(round, commitment);
    }

    function _expectRefusedBatch(SignedCommit[] memory batch, bytes4 reason) private {
        _expectNothingAccepted(reason);
        federation.commitFor(batch);
    }

    function _expectSkipped(address party, bytes4 reason) private {
        vm.expectEmit(address(federation));
        emit IFederation.CommitSkipped(1, party, reason);
    }

    function _expectCommitted(SignedCommit memory signed) private {
        vm.expectEmit(address(federation));
        emit IPlainFederation.Committed(1, signed.party, signed.commitment);
    }
}
