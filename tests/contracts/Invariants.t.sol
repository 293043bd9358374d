// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    IFederation,
    Observation,
    Params,
    Phase,
    Role,
    RoundView
} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {Handler} from "./support/Handler.sol";
import {RoundBook} from "./support/Ledger.sol";

/// @notice See INVARIANTS.md. One campaign checks all of them: forge would run the same calls again for each.
abstract contract InvariantsTest is FederationTest {
    Handler internal handler;
    uint256 internal actors;
    uint256 internal maxParties;

    function _start(Params memory p) internal {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        federation = _deploy(p);
        handler = new Handler(federation, owner);
        actors = handler.actors();
        maxParties = p.maxParties;
        targetContract(address(handler));
        bytes4[] memory selectors = new bytes4[](16);
        selectors[0] = Handler.register.selector;
        selectors[1] = Handler.deposit.selector;
        selectors[2] = Handler.requestUnbond.selector;
        selectors[3] = Handler.withdraw.selector;
        selectors[4] = Handler.withdrawRewards.selector;
        selectors[5] = Handler.slashUnrevealed.selector;
        selectors[6] = Handler.fund.selector;
        selectors[7] = Handler.openRound.selector;
        selectors[8] = Handler.commit.selector;
        selectors[9] = Handler.commitFor.selector;
        selectors[10] = Handler.reveal.selector;
        selectors[11] = Handler.attest.selector;
        selectors[12] = Handler.distribute.selector;
        selectors[13] = Handler.wait.selector;
        selectors[14] = Handler.progress.selector;
        selectors[15] = Handler.settle.selector;
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    function invariant_all() public view {
        Observation[] memory seen = new Observation[](actors);
        for (uint256 i = 0; i < actors; ++i) {
            seen[i] = federation.observe(_party(i));
        }
        I01_the_balance_covers_all_liabilities(seen);
        I02_totals_are_sums_over_accounts(seen);
        I04_a_tally_is_what_was_signed();
        I07_the_base_chain_of_the_head_reaches_genesis(seen[0]);
        I11_credits_are_what_the_events_say(seen);
        I13_seats_are_unique(seen);
        I14_the_pot_holds_what_is_reserved(seen);
        I15_stakes_are_what_the_events_say(seen);
        I17_the_round_is_what_the_events_say(seen[0]);
    }

    function I01_the_balance_covers_all_liabilities(Observation[] memory seen) internal view {
        uint256 liabilities = _pot(seen[0]);
        for (uint256 i = 0; i < actors; ++i) {
            liabilities += uint256(seen[i].party.stake) + seen[i].aggregator.stake + seen[i].credit;
        }
        assertEq(address(federation).balance, liabilities + handler.burnt(), "I01");
    }

    function I02_totals_are_sums_over_accounts(Observation[] memory seen) internal view {
        uint256 partyStake = 0;
        uint256 aggregatorStake = 0;
        uint256 active = 0;
        for (uint256 i = 0; i < actors; ++i) {
            partyStake += seen[i].party.frozenStake;
            aggregatorStake += seen[i].aggregator.frozenStake;
            if (seen[i].party.frozenStake != 0) ++active;
        }
        RoundView memory round = seen[0].current;
        if (round.phase == Phase.Idle) return;
        assertLe(partyStake, round.partyStake, "I02: parties");
        assertLe(aggregatorStake, round.aggregatorStake, "I02: aggregators");
        assertLe(active, round.activeParties, "I02: active");
        assertLe(round.activeParties, maxParties, "I02: maxParties");
        // Once the round has ended, stakes that counted in it may leave.
        if (round.phase >= Phase.Accepted) return;
        assertEq(partyStake, round.partyStake, "I02: parties");
        assertEq(aggregatorStake, round.aggregatorStake, "I02: aggregators");
        assertEq(active, round.activeParties, "I02: active");
    }

    function I04_a_tally_is_what_was_signed() internal view {
        bytes32 digest = handler.lastDigest();
        (, uint96 stake, bool accepted) = federation.attestation(digest);
        RoundBook memory book = handler.book(handler.roundOf(digest));
        assertEq(stake, handler.signedStake(digest), "I04: tally");
        assertEq(accepted, digest != 0 && book.accepted == digest, "I04: accepted");
    }

    function I07_the_base_chain_of_the_head_reaches_genesis(Observation memory seen) internal view {
        uint256 height = handler.height();
        assertEq(seen.head.height, height, "I07: head");
        for (; height != 0; --height) {
            uint256 round = handler.history(height);
            assertEq(federation.model(uint32(height)).round, round, "I07: history");
            assertEq(handler.book(round).base, handler.history(height - 1), "I07: base");
        }
        assertEq(federation.model(0).root, keccak256("genesis"), "I07: genesis");
    }

    function I11_credits_are_what_the_events_say(Observation[] memory seen) internal view {
        for (uint256 i = 0; i < actors; ++i) {
            assertEq(seen[i].credit, handler.creditOf(_party(i)), "I11");
        }
    }

    /// @dev Seats are taken from the lowest on: as many accounts never need more than the first ones.
    function I13_seats_are_unique(Observation[] memory seen) internal view {
        uint256 taken = 0;
        for (uint256 seat = 0; seat <= actors; ++seat) {
            if (federation.seatHolder(uint8(seat)) != address(0)) ++taken;
        }
        uint256 holders = 0;
        for (uint256 i = 0; i < actors; ++i) {
            if (seen[i].aggregator.stake == 0) continue;
            ++holders;
            assertEq(federation.seatHolder(seen[i].aggregator.seat), _party(i), "I13: holder");
        }
        assertEq(taken, holders, "I13: one for each");
    }

    function I14_the_pot_holds_what_is_reserved(Observation[] memory seen) internal view {
        uint256 credits = 0;
        for (uint256 i = 0; i < actors; ++i) {
            credits += seen[i].credit;
        }
        assertEq(_pot(seen[0]) + credits + handler.rewardsPaid(), handler.funded(), "I14");
    }

    function I15_stakes_are_what_the_events_say(Observation[] memory seen) internal view {
        for (uint256 i = 0; i < actors; ++i) {
            assertEq(seen[i].party.stake, handler.stakeOf(_party(i), Role.Party), "I15: party");
            assertEq(seen[i].aggregator.stake, handler.stakeOf(_party(i), Role.Aggregator), "I15: aggregator");
        }
    }

    function I17_the_round_is_what_the_events_say(Observation memory seen) internal view {
        assertEq(seen.finalHeight, handler.finalHeight(), "I17: finalHeight");
        if (seen.current.phase < Phase.Commit) return;
        RoundBook memory book = handler.book(seen.current.round);
        uint256 reveals = handler.countedUpdates(seen.current.round).length;
        assertEq(seen.current.commits, book.commits, "I17: commits");
        assertEq(seen.current.reveals, reveals, "I17: reveals");
        assertEq(seen.current.opened, reveals + book.duplicates, "I17: opened");
        assertEq(seen.current.updatesHash, book.updatesHash, "I17: updatesHash");
        assertEq(seen.current.partyStake, book.partyStake, "I17: partyStake");
    }

    /// @dev What is free, and what rounds that are not distributed have reserved.
    function _pot(Observation memory seen) private view returns (uint256 pot) {
        pot = seen.freePot;
        for (uint256 height = handler.height(); height != 0; --height) {
            RoundBook memory book = handler.book(handler.history(height));
            if (!book.distributed) pot += book.reserved;
        }
    }

    /// @dev After every run. I19: whatever happened, time alone ends the round, and the next one opens. I20:
    /// everybody gets out with the whole stake.
    function afterInvariant() public {
        skip(30 days);
        vm.roll(block.number + 10);
        Phase phase = _current().phase;
        assertTrue(phase < Phase.Commit || phase >= Phase.Accepted, "I19: a phase without an end");
        uint256 state = vm.snapshotState();
        try federation.openRound() {
            vm.roll(_current().seedBlock + 1);
            if (_current().phase == Phase.Seeding) federation.openRound();
            assertPhase(Phase.Commit);
        } catch (bytes memory reason) {
            bool none = bytes4(reason) == IFederation.NoAggregators.selector;
            assertTrue(none || bytes4(reason) == IFederation.NotEnoughParties.selector, "I19: no next round");
        }
        vm.revertToState(state);
        for (uint256 i = 0; i < actors; ++i) {
            // A request that finds the whole stake owed is refused, and the slash with it.
            handler.slashUnrevealed(i);
            handler.requestUnbond(i, false, false);
            handler.requestUnbond(i, true, true);
        }
        for (uint256 i = 0; i < 2 && _current().phase == Phase.Seeding; ++i) {
            handler.openRound(2);
        }
        handler.wait(20 days);
        while (_observe().finalizableAt != 0) handler.settle();
        for (uint256 i = 0; i < actors; ++i) {
            handler.withdraw(i, false, 4);
            handler.withdraw(i, true, 4);
            if (i == handler.REFUSED()) continue;
            assertEq(handler.stakeOf(_party(i), Role.Party), 0, "I20: party");
            assertEq(handler.stakeOf(_party(i), Role.Aggregator), 0, "I20: aggregator");
        }
        invariant_all();
    }

    /// @dev The campaign means something: the same actions, at random, reach everything.
    function test_the_handler_reaches_everything() public {
        uint256 random = 1;
        for (uint256 i = 0; i < 600; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            _act(random % 20, random >> 8);
            if (i % 50 == 0) invariant_all();
        }
        bytes32[15] memory actions = [
            bytes32("register"),
            "deposit",
            "requestUnbond",
            "withdraw",
            "withdrawRewards",
            "slashUnrevealed",
            "fund",
            "openRound",
            "commit",
            "commitFor",
            "reveal",
            "attest",
            "attest, late",
            "finalize",
            "distribute"
        ];
        for (uint256 i = 0; i < actions.length; ++i) {
            assertGt(handler.done(actions[i]), 0, string(abi.encodePacked(actions[i])));
        }
        assertTrue(handler.reenterer().tried(), "re-entered");
        assertGt(handler.burnt(), 0);
        assertGt(handler.height(), 5);
        assertGt(_round(), handler.height(), "void rounds");
        afterInvariant();
    }

    function _act(uint256 action, uint256 x) private {
        bool flag = x % 2 == 0;
        uint8 small = uint8(x >> 16);
        if (action == 0) handler.register(x, flag, x >> 32);
        else if (action == 1) handler.deposit(x, x >> 32);
        else if (action == 2 && x % 5 == 0) handler.requestUnbond(x >> 16, flag, x % 3 == 0);
        else if (action == 3) handler.withdraw(x, flag, x >> 32);
        else if (action == 4) handler.withdrawRewards(x, x >> 32);
        else if (action == 5) handler.slashUnrevealed(x);
        else if (action == 6) handler.fund(x);
        else if (action == 7) handler.openRound(x);
        else if (action == 8) handler.commit(x, x >> 32);
        else if (action == 9) handler.commitFor(x, x >> 32, small);
        else if (action == 10) handler.reveal(x, small, uint8(x >> 24));
        else if (action == 11) handler.attest(x, x >> 32);
        else if (action == 12) handler.distribute(x, flag);
        else if (action == 13) handler.wait(x);
        else if (action < 19) handler.progress(x);
        else handler.settle();
    }
}

contract ConsortiumInvariantsTest is InvariantsTest {
    function setUp() public override {
        Params memory p = _consortium();
        (p.maxParties, p.participants, p.maxUpdates) = (6, 6, 6);
        _start(p);
    }
}

contract CrowdInvariantsTest is InvariantsTest {
    function setUp() public override {
        Params memory p = _crowd();
        (p.minUpdates, p.unrevealedSlashBps) = (1, 10_000);
        // Short enough that stakes could leave in the middle of a round.
        (p.unbondPeriod, p.challengePeriod, p.answerPeriod) = (1, 2, 1);
        _start(p);
    }
}
