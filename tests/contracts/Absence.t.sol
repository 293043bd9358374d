// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role, RoundView} from "../../contracts/interfaces/IFederation.sol";
import {SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See Absence.tree. The last party of five is the one that is missing.
contract AbsenceTest is DisputeTest {
    uint256 internal constant ABSENT = PARTIES - 1;
    address internal absent = _party(ABSENT);
    /// @dev Whether updates are real vectors, which takes long.
    bool private disputed;

    function _update(uint256 i) internal view override returns (Update memory) {
        return disputed ? DisputeTest._update(i) : FederationTest._update(i);
    }

    // ------------------------------------------------------------------ markAbsent

    function test_MarkAbsent_RevertWhen_NotEverybodyIsDrawn() public {
        federation = _deploy(_crowd());
        for (uint256 i = 0; i < 4; ++i) {
            _register(_party(i), Role.Party, STAKE);
        }
        _join(_aggregator(0), Role.Aggregator, STAKE);
        for (uint256 n = 0; n < 4; ++n) {
            _openRound();
            _commitFirst(3);
            vm.warp(_current().attestEnd);
        }
        _expectNotMissing(_party(3));
    }

    function test_MarkAbsent_RevertWhen_ThePartyHasMissedTwoRounds() public {
        _missRounds(2);
        _expectNotMissing(absent);
        _openRound();
        _commitFirst(4);
        _expectNotMissing(absent);
        // The third counts when its commit phase is over.
        _endPhase();
        assertTrue(federation.observe(absent).missing);
    }

    function test_MarkAbsent_RevertWhen_ThePartyHasCommittedInTheLastOfThree() public {
        _missRounds(2);
        _openRound();
        _commit(0);
        _commit(ABSENT);
        _endPhase();
        _reveal(_update(0));
        _reveal(_update(ABSENT));
        vm.warp(_current().attestEnd);
        _missRounds(1);
        _toPause(4);
        // It has missed four rounds by now, but not three in a row.
        _expectNotMissing(absent);
        _endRound(4);
        _toPause(4);
        federation.markAbsent(absent);
    }

    function test_MarkAbsent_RevertWhen_ThePartyHasCommittedSince() public {
        _missRounds(3);
        assertTrue(federation.observe(absent).missing);
        _openRound();
        _commitFirst(PARTIES);
        assertPhase(Phase.Reveal);
        _expectNotMissing(absent);
    }

    function test_MarkAbsent_RevertWhen_ThePartyJoinedInTheFirstOfThree() public {
        address late = _party(PARTIES);
        federation.openRound();
        _join(late, Role.Party, STAKE);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(4);
        _endRound(4);
        _missRounds(1);
        _toPause(4);
        federation.markAbsent(absent);
        _expectNotMissing(late);
        _endRound(4);
        _toPause(4);
        federation.markAbsent(late);
    }

    function test_MarkAbsent_RevertWhen_NobodyCouldCommitInOneOfThree() public {
        _missRounds(2);
        _openRound();
        _commitFirst(1);
        vm.warp(_current().commitEnd);
        assertPhase(Phase.Void);
        _expectNotMissing(absent);
        _toPause(4);
        federation.markAbsent(absent);
    }

    function test_MarkAbsent_RevertWhen_OneOfThreeWasOrphanedWhileItTookCommits() public {
        disputed = true;
        Evidence memory wrong = _acceptWrong();
        _missRounds(1);
        _openRound();
        _commitFirst(4);
        _challenge(wrong);
        assertPhase(Phase.Void);
        vm.warp(_current().attestEnd);
        _expectNotMissing(absent);
        _toPause(4);
        federation.markAbsent(absent);
    }

    function test_MarkAbsent_RevertWhen_TheAccountIsNoParty() public {
        _toMissing();
        _expectNotMissing(stranger);
        _expectNotMissing(_aggregator(0));
        _expectNotMissing(address(0));
    }

    function test_MarkAbsent_RevertWhen_ThePartyIsUnbonding() public {
        _toMissing();
        _requestUnbond(absent, Role.Party);
        _expectNotMissing(absent);
    }

    function test_MarkAbsent_RevertWhen_ThePartyIsMarked() public {
        _toMarked();
        _expectNotMissing(absent);
        _endRound(4);
        _toPause(4);
        _expectNotMissing(absent);
    }

    function test_MarkAbsent_RevertWhen_TheNextRoundIsSeeding() public {
        _missRounds(3);
        federation.openRound();
        _expectNotMissing(absent);
    }

    function test_MarkAbsent_RevertWhen_TheNextRoundTakesCommits() public {
        _missRounds(3);
        _openRound();
        _commitFirst(4);
        _expectNotMissing(absent);
        vm.warp(_current().commitEnd - 1);
        // Nobody can mark it in the block in which it commits, before that or after.
        _expectNotMissing(absent);
        _commit(ABSENT);
        _expectNotMissing(absent);
        assertPhase(Phase.Reveal);
    }

    function test_MarkAbsent_WhenOneOfThreeWasVoidForWantOfReveals() public {
        _missRounds(2);
        _toReveal(4);
        vm.warp(_current().revealEnd);
        assertPhase(Phase.Void);
        federation.markAbsent(absent);
        assertTrue(_isMarked());
    }

    function test_MarkAbsent_WhenItsLastCommitWasNeverRevealed() public {
        _openRound();
        _commitFirst(PARTIES);
        _revealFirst(4);
        vm.warp(_current().attestEnd);
        _toMissing();
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(absent, Role.Party, 1, STAKE / 10, STAKE / 10);
        vm.expectEmit(address(federation));
        emit IFederation.MarkedAbsent(_round(), absent);
        federation.markAbsent(absent);
        assertEq(_stakeOf(absent), STAKE - STAKE / 10);
        assertTrue(_isMarked());
    }

    function test_MarkAbsent_WhenThatSlashLeavesTooLittle() public {
        Params memory p = _consortium();
        p.unrevealedSlashBps = 5_001;
        _start(p);
        _openRound();
        _commitFirst(PARTIES);
        _revealFirst(4);
        vm.warp(_current().attestEnd);
        _toMissing();
        federation.markAbsent(absent);
        assertLt(_stakeOf(absent), MIN_STAKE);
        assertFalse(_isMarked());
        _endRound(4);
        _openRound();
        assertEq(_current().activeParties, 4);
        assertEq(_current().commitQuota, 4);
    }

    function test_MarkAbsent_WhenThePartyHasMissedThreeRoundsInARow() public {
        _toMissing();
        assertTrue(federation.observe(absent).missing);
        vm.expectEmit(address(federation));
        emit IFederation.MarkedAbsent(3, absent);
        vm.prank(stranger);
        federation.markAbsent(absent);
        assertTrue(_isMarked());
        assertEq(_stakeOf(absent), STAKE);
        _endRound(4);
        _openRound();
        RoundView memory round = _current();
        assertEq(round.activeParties, PARTIES);
        assertEq(round.commitQuota, 4);
        assertEq(_frozenStakeOf(absent), STAKE);
        assertTrue(federation.observe(absent).drawn);
        _commitFirst(3);
        assertPhase(Phase.Commit);
        vm.expectEmit(address(federation));
        emit IFederation.CommitPhaseCompleted(4, block.timestamp);
        _commit(3);
        assertPhase(Phase.Reveal);
    }

    // ------------------------------------------------------------------ comeBack

    function test_ComeBack_RevertWhen_ThePartyIsNotMarked() public {
        _toMissing();
        _expectNoWish(absent);
        _expectNoWish(stranger);
    }

    function test_ComeBack_RevertWhen_ThePartyIsLeaving() public {
        _toMarked();
        _requestUnbond(absent, Role.Party);
        _expectNoWish(absent);
        _endRound(4);
        _openRound();
        _expectNoWish(absent);
        assertEq(_current().commitQuota, 4);
        assertEq(_current().activeParties, 4);
    }

    function test_ComeBack_RevertWhen_TheWishIsForAnotherRound() public {
        _toMarked();
        vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 3));
        vm.prank(absent);
        federation.commit(4, 0);
    }

    function test_ComeBack_WhenThePartyCommits() public {
        _toMarkedRound();
        _commitFirst(3);
        vm.expectEmit(address(federation));
        emit IFederation.MarkedPresent(4, absent);
        _commit(ABSENT);
        assertFalse(_isMarked());
        assertEq(_current().commitQuota, PARTIES);
        // Four have committed, and the fourth party has not.
        assertPhase(Phase.Commit);
        _commit(3);
        assertPhase(Phase.Reveal);
        _revealFirst(PARTIES);
        vm.warp(_current().attestEnd);
        _openRound();
        _commitFirst(4);
        assertPhase(Phase.Commit);
    }

    function test_ComeBack_WhenAKeeperCarriesItsCommit() public {
        _toMarkedRound();
        vm.prank(stranger);
        federation.commitFor(_only(_signedCommit(ABSENT)));
        assertFalse(_isMarked());
        assertEq(_current().commits, 1);
        assertEq(_current().commitQuota, PARTIES);
    }

    function test_ComeBack_WhenAKeeperCarriesItsWish() public {
        _toMarked();
        SignedCommit memory wish = _signedWish();
        vm.prank(stranger);
        federation.commitFor(_only(wish));
        assertFalse(_isMarked());
        _expectNothingAccepted(IFederation.ZeroCommitment.selector);
        federation.commitFor(_only(wish));
    }

    function test_ComeBack_WhenItWishesToWhileTheRoundIsSeeding() public {
        _toMarked();
        _endRound(4);
        federation.openRound();
        _wish();
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        assertEq(_current().commitQuota, PARTIES);
        _commitFirst(4);
        assertPhase(Phase.Commit);
        _commit(ABSENT);
        assertPhase(Phase.Reveal);
    }

    function test_ComeBack_WhenItWishesToWhileTheRoundTakesCommits() public {
        _toMarkedRound();
        _commitFirst(3);
        vm.expectEmit(address(federation));
        emit IFederation.MarkedPresent(4, absent);
        _wish();
        _commit(3);
        assertPhase(Phase.Commit);
        _commit(ABSENT);
        assertPhase(Phase.Reveal);
    }

    function test_ComeBack_WhenItWishesToAfterTheCommitPhase() public {
        _toMarkedRound();
        _commitFirst(4);
        assertPhase(Phase.Reveal);
        _wish();
        assertEq(_current().commitQuota, 4);
        _endRound(4);
        _openRound();
        assertEq(_current().commitQuota, PARTIES);
    }

    function test_ComeBack_WhenItsWishFollowsItsMark() public {
        _toMarked();
        _wish();
        _expectNotMissing(absent);
        // The round that it was marked in is the first that it misses again.
        _endRound(4);
        _toPause(4);
        _expectNotMissing(absent);
        _endRound(4);
        _toPause(4);
        federation.markAbsent(absent);
        assertTrue(_isMarked());
    }

    function test_ComeBack_WhenEverybodyIsMarked() public {
        // Whoever made the last three rounds count is not marked: these two leave.
        for (uint256 n = 0; n < 2; ++n) {
            _toPause(2);
            _endRound(2);
        }
        _toPause(2);
        for (uint256 i = 2; i < PARTIES; ++i) {
            federation.markAbsent(_party(i));
        }
        _endRound(2);
        _requestUnbond(_party(0), Role.Party);
        _requestUnbond(_party(1), Role.Party);
        _openRound();
        assertEq(_current().activeParties, 3);
        assertEq(_current().commitQuota, 0);
        _commit(2);
        assertEq(_current().commitQuota, 1);
        assertPhase(Phase.Commit);
        _commit(3);
        assertPhase(Phase.Reveal);
        _reveal(_update(2));
        _reveal(_update(3));
        assertPhase(Phase.Attest);
    }

    function test_ComeBack_WhenItAskedToLeaveInThisRoundAndCommits() public {
        _toMarkedRound();
        _requestUnbond(absent, Role.Party);
        assertEq(_current().commitQuota, 4);
        _commit(ABSENT);
        _commitFirst(3);
        assertPhase(Phase.Commit);
        _commit(3);
        assertPhase(Phase.Reveal);
        _revealFirst(PARTIES);
        vm.warp(_current().attestEnd);
        _openRound();
        assertEq(_current().commitQuota, 4);
        assertEq(_current().activeParties, 4);
    }

    function test_ComeBack_WhenItHasLeftAndJoinsAgain() public {
        _toMarked();
        _requestUnbond(absent, Role.Party);
        _endRound(4);
        skip(10 days);
        _withdraw(absent, Role.Party);
        assertFalse(_isMarked());
        _register(absent, Role.Party, STAKE);
        _openRound();
        assertEq(_current().commitQuota, PARTIES);
        _commitFirst(4);
        assertPhase(Phase.Commit);
        _commit(ABSENT);
        assertPhase(Phase.Reveal);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Whoever is there or not, marks, wishes and leaves: a commit phase ends early if, and only if, everybody who
    /// is waited for has committed, and they are enough for a round. What is waited for never exceeds who is active.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_NobodyWhoIsThereIsShutOut(uint256 seed) public {
        for (uint256 n = 0; n < 8; ++n) {
            seed = uint256(keccak256(abi.encode(seed)));
            _openRound();
            bool[] memory waited = new bool[](PARTIES);
            for (uint256 i = 0; i < PARTIES; ++i) {
                waited[i] = !federation.observe(_party(i)).committed.absent;
            }
            for (uint256 k = 0; k < PARTIES; ++k) {
                uint256 i = (seed % PARTIES + k) % PARTIES;
                uint256 act = seed >> (8 + 4 * i) & 15;
                if (_current().phase != Phase.Commit) break;
                // The last two are rarely there.
                if (act < (i < 3 ? 13 : 3)) _commit(i);
                else if (act == 13 && federation.observe(_party(i)).committed.absent) _wishOf(i);
                else continue;
                waited[i] = true;
            }
            _expectQuota(waited);
            _endPhase(Phase.Commit);
            if (_current().phase == Phase.Reveal) _revealAll();
            for (uint256 i = 0; i < PARTIES; ++i) {
                if (federation.observe(_party(i)).missing) federation.markAbsent(_party(i));
            }
            vm.warp(_current().attestEnd);
        }
    }

    function _expectQuota(bool[] memory waited) private view {
        RoundView memory round = _current();
        uint256 quota = 0;
        bool complete = true;
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (!waited[i]) continue;
            ++quota;
            if (federation.observe(_party(i)).committed.round != round.round) complete = false;
        }
        assertEq(round.commitQuota, quota);
        complete = complete && round.commits >= 2;
        assertEq(round.phase == Phase.Reveal, complete);
    }

    function _revealAll() private {
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (federation.observe(_party(i)).committed.round == _round()) _reveal(_update(i));
        }
    }

    // ------------------------------------------------------------------ steps

    /// @dev Rounds in which all but the last party commit and reveal, and nobody attests.
    function _missRounds(uint256 count) private {
        for (uint256 n = 0; n < count; ++n) {
            _toPause(4);
            _endRound(4);
        }
    }

    /// @dev A round in which so many have committed, and which takes no more commits.
    function _toPause(uint256 count) private {
        _openRound();
        _commitFirst(count);
        _endPhase(Phase.Commit);
    }

    /// @dev Reveals for so many, if it is time, and lets the rest of the round pass.
    function _endRound(uint256 count) private {
        if (_current().phase == Phase.Commit) _endPhase();
        if (_current().phase == Phase.Reveal) _revealFirst(count);
        vm.warp(_current().attestEnd);
    }

    /// @dev Three rounds without the last party; the third takes no more commits.
    function _toMissing() private {
        _missRounds(2);
        _toPause(4);
    }

    function _toMarked() private {
        _toMissing();
        federation.markAbsent(absent);
    }

    /// @dev The next round takes commits.
    function _toMarkedRound() private {
        _toMarked();
        _endRound(4);
        _openRound();
    }

    function _isMarked() private view returns (bool) {
        return federation.observe(absent).committed.absent;
    }

    function _wish() private {
        _wishOf(ABSENT);
    }

    function _wishOf(uint256 i) private {
        uint32 round = _round();
        vm.prank(_party(i));
        federation.commit(round, 0);
    }

    function _signedWish() private view returns (SignedCommit memory) {
        (bytes32 r, bytes32 vs) =
            vm.signCompact(_partyKey(ABSENT), federation.commitDigest(_round(), absent, 0));
        return SignedCommit(absent, 0, r, vs);
    }

    function _expectNoWish(address account) private {
        uint32 round = _round();
        vm.expectRevert(IFederation.ZeroCommitment.selector);
        vm.prank(account);
        federation.commit(round, 0);
    }

    function _expectNotMissing(address account) private {
        assertFalse(federation.observe(account).missing);
        vm.expectRevert(IFederation.NotMissing.selector);
        federation.markAbsent(account);
    }
}
