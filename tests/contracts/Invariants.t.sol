// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {
    IFederation,
    Observation,
    Params,
    Phase,
    Role,
    RoundView,
    Rule
} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {DisputeHandler} from "./support/DisputeHandler.sol";
import {Handler} from "./support/Handler.sol";
import {RoundBook} from "./support/Ledger.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See INVARIANTS.md. One campaign checks all of them: forge would run the same calls again for each.
abstract contract InvariantsTest is FederationTest {
    using Vectors for Vector;

    IPlainFederation internal disputes;
    DisputeHandler internal handler;
    /// @dev Seven in both roles, and a watcher.
    address[] internal actors;
    uint256 internal maxParties;
    uint256 internal minUpdates;
    bool internal openAdmission;
    bytes32 internal genesisRoot;
    bytes4[] private selectors;

    function _start(Params memory p) internal {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        Vector memory genesis = Vectors.zero(4, 2);
        genesis.set(3, type(int32).max - 10_000);
        (p.depth, p.genesisRoot) = (2, genesis.root());
        genesisRoot = p.genesisRoot;
        federation = _deploy(p);
        disputes = IPlainFederation(address(federation));
        handler = DisputeHandler(
            deployCode("DisputeHandler.sol:DisputeHandler", abi.encode(federation, owner, genesis))
        );
        actors = handler.actors();
        (maxParties, minUpdates, openAdmission) = (p.maxParties, p.minUpdates, p.openAdmission);
        targetContract(address(handler));
        _choose(Handler.register.selector, 1);
        _choose(Handler.deposit.selector, 1);
        _choose(Handler.requestUnbond.selector, 2);
        _choose(Handler.withdraw.selector, 2);
        _choose(Handler.withdrawRewards.selector, 1);
        _choose(Handler.slashUnrevealed.selector, 1);
        _choose(Handler.fund.selector, 1);
        _choose(Handler.openRound.selector, 1);
        _choose(Handler.commit.selector, 1);
        _choose(Handler.commitFor.selector, 1);
        _choose(Handler.reveal.selector, 1);
        _choose(Handler.attest.selector, 1);
        _choose(Handler.distribute.selector, 1);
        _choose(Handler.wait.selector, 2);
        _choose(DisputeHandler.markAbsent.selector, 2);
        _choose(DisputeHandler.comeBack.selector, 1);
        _choose(DisputeHandler.remove.selector, 1);
        _choose(DisputeHandler.registerChallenge.selector, 1);
        _choose(DisputeHandler.challenge.selector, 1);
        _choose(DisputeHandler.slashSigner.selector, 1);
        _choose(DisputeHandler.demand.selector, 1);
        _choose(DisputeHandler.descend.selector, 2);
        _choose(DisputeHandler.answer.selector, 2);
        _choose(DisputeHandler.expire.selector, 1);
        _choose(DisputeHandler.closeDescent.selector, 1);
        _choose(DisputeHandler.settleBond.selector, 1);
        _choose(DisputeHandler.watch.selector, 4);
        _choose(DisputeHandler.serve.selector, 3);
        _choose(DisputeHandler.settle.selector, 1);
        _choose(DisputeHandler.leave.selector, 1);
        _choose(DisputeHandler.rejoin.selector, 3);
        _choose(DisputeHandler.progress.selector, 20);
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    /// @dev What stands there more often is called more often.
    function _choose(bytes4 selector, uint256 times) private {
        for (; times != 0; --times) {
            selectors.push(selector);
        }
    }

    function invariant_all() public view {
        Observation[] memory seen = new Observation[](actors.length);
        for (uint256 i = 0; i < actors.length; ++i) {
            seen[i] = federation.observe(actors[i]);
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
        I27_open_descents_are_what_the_events_say();
        I29_a_commit_phase_waits_for_whoever_is_there(seen[0]);
    }

    function I01_the_balance_covers_all_liabilities(Observation[] memory seen) internal view {
        uint256 liabilities = _pot(seen[0]) + handler.bondsHeld();
        for (uint256 i = 0; i < actors.length; ++i) {
            liabilities += uint256(seen[i].party.stake) + seen[i].aggregator.stake + seen[i].credit;
        }
        assertEq(address(federation).balance, liabilities + handler.burnt(), "I01");
    }

    function I02_totals_are_sums_over_accounts(Observation[] memory seen) internal view {
        uint256 partyStake = 0;
        uint256 aggregatorStake = 0;
        uint256 active = 0;
        for (uint256 i = 0; i < actors.length; ++i) {
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
        // What was slashed since was frozen.
        if (!handler.book(round.round).slashed) {
            assertEq(aggregatorStake, round.aggregatorStake, "I02: aggregators");
        }
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
        assertEq(federation.model(0).root, genesisRoot, "I07: genesis");
    }

    function I11_credits_are_what_the_events_say(Observation[] memory seen) internal view {
        for (uint256 i = 0; i < actors.length; ++i) {
            assertEq(seen[i].credit, handler.creditOf(actors[i]), "I11");
        }
    }

    /// @dev Seats are taken from the lowest on: as many accounts never need more than the first ones.
    function I13_seats_are_unique(Observation[] memory seen) internal view {
        uint256 taken = 0;
        for (uint256 seat = 0; seat <= actors.length; ++seat) {
            if (federation.seatHolder(uint8(seat)) != address(0)) ++taken;
        }
        uint256 holders = 0;
        for (uint256 i = 0; i < actors.length; ++i) {
            if (!handler.seated(actors[i])) continue;
            ++holders;
            assertEq(federation.seatHolder(seen[i].aggregator.seat), actors[i], "I13: holder");
        }
        assertEq(taken, holders, "I13: one for each");
    }

    function I14_the_pot_holds_what_is_reserved(Observation[] memory seen) internal view {
        assertEq(_pot(seen[0]) + handler.rewarded(), handler.funded(), "I14");
    }

    function I15_stakes_are_what_the_events_say(Observation[] memory seen) internal view {
        for (uint256 i = 0; i < actors.length; ++i) {
            assertEq(seen[i].party.stake, handler.stakeOf(actors[i], Role.Party), "I15: party");
            assertEq(seen[i].aggregator.stake, handler.stakeOf(actors[i], Role.Aggregator), "I15: aggregator");
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

    function I27_open_descents_are_what_the_events_say() internal view {
        for (uint256 height = handler.height(); height != 0; --height) {
            uint256 round = handler.history(height);
            assertEq(disputes.window(uint32(round)).openDescents, handler.openDescents(round), "I27");
            assertTrue(disputes.window(uint32(round)).canonical, "I21: canonical");
        }
    }

    function I29_a_commit_phase_waits_for_whoever_is_there(Observation memory seen) internal view {
        if (seen.current.phase < Phase.Commit || openAdmission) return;
        (uint256 all, uint256 left) = handler.awaitedIn(seen.current.round);
        assertEq(seen.current.commitQuota, all, "I29: quota");
        bool enough = left == 0 && seen.current.commits >= minUpdates;
        assertFalse(seen.current.phase == Phase.Commit && enough, "I29: waits for nobody");
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
        for (uint256 i = 0; i < actors.length; ++i) {
            // A request that finds the whole stake owed is refused, and the slash with it.
            handler.slashUnrevealed(i);
            handler.requestUnbond(i, 0, 0);
            handler.requestUnbond(i, 1, 1);
        }
        for (uint256 i = 0; i < 2 && _current().phase == Phase.Seeding; ++i) {
            handler.openRound(2);
        }
        handler.wait(20 days);
        while (_observe().finalizableAt != 0) handler.settle();
        for (uint256 i = 0; i < actors.length; ++i) {
            handler.withdraw(i, 0, 4);
            handler.withdraw(i, 1, 4);
            if (i == handler.REFUSED()) continue;
            assertEq(handler.stakeOf(actors[i], Role.Party), 0, "I20: party");
            assertEq(handler.stakeOf(actors[i], Role.Aggregator), 0, "I20: aggregator");
        }
        for (uint256 id = 1; id <= handler.demandCount(); ++id) {
            handler.settleBond(id);
        }
        assertEq(handler.bondsHeld(), 0, "I24: a bond that cannot be settled");
        invariant_all();
    }

    /// @dev The campaign means something: the same actions, at random, reach everything.
    function test_the_handler_reaches_everything() public {
        vm.pauseGasMetering();
        bytes32 random = 0;
        bytes32 missing = "everything";
        for (uint256 i = 0; missing != 0; ++i) {
            assertLt(i, 3_000, string(abi.encodePacked(missing)));
            random = keccak256(abi.encode(random));
            _act(random);
            if (i % 50 == 0) invariant_all();
            missing = _missing();
        }
        afterInvariant();
    }

    /// @dev What has not been reached yet; zero when all has.
    function _missing() private view returns (bytes32) {
        bytes32[25] memory actions = [
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
            "distribute",
            "registerChallenge",
            "challenge",
            "slashSigner",
            "demand",
            "descend",
            "answer",
            "expire",
            "closeDescent",
            "settleBond",
            "remove"
        ];
        for (uint256 i = 0; i < actions.length; ++i) {
            if (handler.done(actions[i]) == 0) return actions[i];
        }
        if (!openAdmission && handler.done("markAbsent") < 2) return "absent parties";
        if (!openAdmission && handler.done("comeBack") == 0) return "comeBack";
        if (!handler.reenterer().tried()) return "an entry from a payment";
        if (handler.height() < 5) return "five rounds canonical";
        if (handler.revocations() < 5) return "five revocations";
        return _round() == handler.height() ? bytes32("a void round") : bytes32(0);
    }

    /// @dev Any action, with any arguments: no action has more than five.
    function _act(bytes32 random) private {
        bytes4 selector = selectors[uint256(random) % selectors.length];
        bytes32[5] memory words;
        for (uint256 i = 0; i < words.length; ++i) {
            words[i] = keccak256(abi.encode(random, i));
        }
        Address.functionCall(address(handler), abi.encodePacked(selector, words));
    }
}

// In both: not isolated, and with the views compared after every eighth call, three times as many calls can be
// made; what the events say is checked at each. Arguments are choices: any number will do, and one that was seen
// before no better.

/// forge-config: default.isolate = false
/// forge-config: default.invariant.check-interval = 8
/// forge-config: default.invariant.dictionary-weight = 0
contract ConsortiumInvariantsTest is InvariantsTest {
    function setUp() public override {
        Params memory p = _consortium();
        (p.maxParties, p.participants, p.maxUpdates) = (6, 6, 6);
        p.fraudSlashBps = 2_000;
        _start(p);
    }
}

/// forge-config: default.isolate = false
/// forge-config: default.invariant.check-interval = 8
/// forge-config: default.invariant.dictionary-weight = 0
contract CrowdInvariantsTest is InvariantsTest {
    function setUp() public override {
        Params memory p = _crowd();
        (p.minUpdates, p.unrevealedSlashBps) = (1, 10_000);
        // Short enough that stakes could leave in the middle of a round.
        (p.unbondPeriod, p.challengePeriod, p.answerPeriod) = (1, 2, 1);
        (p.rule, p.demandBond) = (Rule.Median, 7);
        _start(p);
    }
}

