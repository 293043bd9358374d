// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Observation, Params, Phase, RoundView} from "../../contracts/interfaces/IFederation.sol";
import {PrivateObservation, PrivateParams} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateBook, PrivateHandler} from "./support/PrivateHandler.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice The invariants of private rounds. See INVARIANTS.md.
contract PrivateInvariantsTest is PrivateTest {
    PrivateHandler internal handler;

    uint32 private lastRound;
    uint8 private lastStage;
    uint32 private lastFinal;

    function setUp() public override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        Params memory p = _terms();
        p.depth = 1;
        p.fraudSlashBps = 5_000;
        p.minAggregatorStake = 0.01 ether;
        _use(_deployPrivate(p, _smallTerms()));
        handler = new PrivateHandler(masked, owner);
        bytes4[] memory steps = new bytes4[](10);
        steps[0] = PrivateHandler.openRound.selector;
        steps[1] = PrivateHandler.commit.selector;
        steps[2] = PrivateHandler.reveal.selector;
        steps[3] = PrivateHandler.claim.selector;
        steps[4] = PrivateHandler.attest.selector;
        steps[5] = PrivateHandler.revoke.selector;
        steps[6] = PrivateHandler.finish.selector;
        steps[7] = PrivateHandler.setKey.selector;
        steps[8] = PrivateHandler.wait.selector;
        steps[9] = PrivateHandler.proceed.selector;
        targetSelector(FuzzSelector(address(handler), steps));
        targetContract(address(handler));
    }

    function invariant_all() public {
        (Observation memory seen, PrivateObservation memory more) = masked.observe(address(0));
        assertEq(handler.brokenCount(), 0, handler.brokenCount() == 0 ? "" : handler.broken(0));
        P06_the_balance_covers_all_liabilities(seen);
        P07_a_round_only_moves_forward(seen);
        if (seen.current.commitEnd == 0) return;
        PrivateBook memory book = _book();
        P01_the_commits_are_what_was_committed(seen.current, more, book);
        P02_the_updates_are_what_was_revealed(seen.current, book);
        P03_a_first_claim_stands(seen.current.round, more, book);
        P04_the_lock_is_what_two_thirds_held(more, book);
        P08_the_ends_of_the_phases_are_in_order(seen.current, more);
    }

    function P01_the_commits_are_what_was_committed(
        RoundView memory round,
        PrivateObservation memory more,
        PrivateBook memory book
    ) private view {
        assertEq(round.round, book.round);
        assertEq(round.commits, book.commits);
        assertEq(more.commitsHash, book.commits == 0 ? bytes32(0) : book.commitsHash);
        for (uint256 i = 0; i < handler.PARTIES(); ++i) {
            if (!handler.hasCommitted(round.round, i)) continue;
            uint256 kept = handler.indexOf(round.round, i) << 8 | handler.weightOf(round.round, i);
            (Observation memory seen,) = masked.observe(handler.party(i));
            if (seen.committed.commitment != 0) assertEq(uint208(seen.committed.commitment), kept);
            assertEq(seen.committed.revealed, handler.hasRevealed(round.round, i));
        }
    }

    function P02_the_updates_are_what_was_revealed(RoundView memory round, PrivateBook memory book)
        private
        pure
    {
        assertEq(round.reveals, book.reveals);
        assertEq(round.opened, book.reveals);
        assertEq(round.updatesHash, book.updatesHash);
    }

    function P03_a_first_claim_stands(uint32 round, PrivateObservation memory more, PrivateBook memory book)
        private
        view
    {
        assertEq(more.claimedSeats, book.claimed);
        for (uint256 seat = 0; seat < handler.AGGREGATORS(); ++seat) {
            (, PrivateObservation memory own) = masked.observe(handler.aggregator(seat));
            bool claimed = book.claimed >> seat & 1 == 1;
            if (own.claimed) assertEq(own.held, handler.heldBy(round, seat));
            // A stake of which nothing is left is no longer seen as a seat.
            assertTrue(claimed || !own.claimed);
        }
    }

    function P04_the_lock_is_what_two_thirds_held(PrivateObservation memory more, PrivateBook memory book)
        private
        pure
    {
        assertEq(more.locked, book.locked);
        assertEq(more.locked >> book.reveals, 0);
    }

    function P06_the_balance_covers_all_liabilities(Observation memory seen) private view {
        uint256 owed = seen.freePot;
        for (uint256 i = 0; i < handler.PARTIES(); ++i) {
            (Observation memory own,) = masked.observe(handler.party(i));
            owed += own.party.stake + own.credit;
        }
        for (uint256 i = 0; i < handler.AGGREGATORS(); ++i) {
            (Observation memory own,) = masked.observe(handler.aggregator(i));
            owed += own.aggregator.stake + own.credit;
        }
        (Observation memory challenger,) = masked.observe(address(handler));
        assertGe(address(masked).balance, owed + challenger.credit);
    }

    function P07_a_round_only_moves_forward(Observation memory seen) private {
        uint8 stage = _stage(seen.current.phase);
        assertGe(seen.current.round, lastRound);
        if (seen.current.round == lastRound) assertGe(stage, lastStage);
        assertGe(seen.finalHeight, lastFinal);
        (lastRound, lastStage, lastFinal) = (seen.current.round, stage, seen.finalHeight);
    }

    function P08_the_ends_of_the_phases_are_in_order(RoundView memory round, PrivateObservation memory more)
        private
        pure
    {
        assertGe(round.revealEnd, round.commitEnd);
        assertGe(more.claimEnd, round.revealEnd);
        assertLe(more.claimEnd, round.revealEnd + 30 minutes);
        assertEq(round.attestEnd, round.revealEnd + 30 minutes + 3 hours);
    }

    /// @dev The order of the phases: the number of the claim phase is not in it.
    function _stage(Phase phase) private pure returns (uint8) {
        if (phase == Phase.Claim) return 4;
        return uint8(phase) <= uint8(Phase.Reveal) ? uint8(phase) : uint8(phase) + 1;
    }

    function _book() private view returns (PrivateBook memory book) {
        (
            book.round,
            book.commitsHash,
            book.updatesHash,
            book.commits,
            book.reveals,
            book.locked,
            book.claimed
        ) = handler.book();
    }

    function _smallTerms() private pure returns (PrivateParams memory q) {
        q = _privateTerms();
        q.parameters = 500;
    }

    /// @dev A campaign that passes has reached all of this.
    function test_the_handler_reaches_everything() public {
        bytes32[8] memory steps =
            [bytes32("open"), "commit", "reveal", "claim", "attest", "accept", "revoke", "distribute"];
        for (uint256 k = 0; k < 400 && !_all(steps); ++k) {
            handler.proceed(uint256(keccak256(abi.encode(k))));
            // A call of its own: it frees its memory.
            this.invariant_all();
        }
        for (uint256 i = 0; i < steps.length; ++i) {
            assertGt(handler.done(steps[i]), 0, string(abi.encodePacked(steps[i])));
        }
    }

    function _all(bytes32[8] memory steps) private view returns (bool) {
        for (uint256 i = 0; i < steps.length; ++i) {
            if (handler.done(steps[i]) == 0) return false;
        }
        return true;
    }
}
