// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {
    Cid,
    CountedUpdate,
    IFederation,
    Observation,
    Phase,
    Result,
    Role,
    RoundView
} from "../../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./FederationTest.sol";

/// @dev What the events say of a round.
struct RoundBook {
    uint256 partyStake;
    uint256 aggregatorStake;
    uint256 activeParties;
    uint32 base;
    uint256 commits;
    uint256 duplicates;
    bytes32 updatesHash;
    bytes32 accepted;
    uint256 reserved;
    uint256 credited;
    bool distributed;
}

/// @notice Keeps the books of a federation from its events alone, as an indexer would, and checks each entry,
/// and each step, against what came before. See INVARIANTS.md.
abstract contract Ledger is FederationTest {
    // ------------------------------------------------------------------ the books

    mapping(address account => mapping(Role role => uint256)) public stakeOf;
    /// @dev The round in which unbonding was requested.
    mapping(address account => mapping(Role role => uint256)) private lastRoundOf;
    mapping(address account => uint256) public creditOf;
    uint256 public burnt;
    uint256 public funded;
    uint256 public rewardsPaid;

    mapping(uint256 round => RoundBook) internal books;
    mapping(uint256 round => CountedUpdate[]) internal counted;
    mapping(uint256 round => mapping(address party => bool)) private committed;
    mapping(bytes32 root => uint256[] rounds) private countedIn;
    mapping(bytes32 digest => Result) internal results;
    mapping(bytes32 digest => uint256) public signedStake;
    mapping(bytes32 digest => mapping(address => bool)) private signed;
    bytes32[] private digests;
    /// @dev The rounds of the history, by height; genesis is round 0.
    uint256[] public history = [0];
    uint256 public finalHeight;

    /// @dev The state before the step.
    Observation internal last;
    /// @dev Whether the federation refused the step: what it emitted before it reverted is recorded all the same.
    bool internal refused;

    function book(uint256 round) external view returns (RoundBook memory) {
        return books[round];
    }

    function roundOf(bytes32 digest) external view returns (uint256) {
        return results[digest].round;
    }

    function countedUpdates(uint256 round) external view returns (CountedUpdate[] memory) {
        return counted[round];
    }

    function height() external view returns (uint256) {
        return history.length - 1;
    }

    function lastDigest() external view returns (bytes32) {
        return digests.length == 0 ? bytes32(0) : digests[digests.length - 1];
    }

    // ------------------------------------------------------------------ a step

    /// @dev Everything that changes the federation runs in it.
    modifier step() {
        refused = false;
        vm.recordLogs();
        _;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length && !refused; ++i) {
            if (logs[i].emitter == address(federation)) _enter(logs[i]);
        }
        _checkStep();
    }

    /// @dev I08, I09, I10: status moves forward, ends move back, and what is frozen stays.
    function _checkStep() private {
        Observation memory seen = _observe();
        RoundView memory now_ = seen.current;
        assertGe(now_.round, last.current.round, "I08: round");
        assertLe(now_.round, last.current.round + 1, "I08: round by one");
        assertGe(seen.finalHeight, last.finalHeight, "I08: finalHeight");
        assertGe(seen.head.height, last.head.height, "I08: height");
        if (now_.round == last.current.round) {
            assertGe(uint8(now_.phase), uint8(last.current.phase), "I08: phase");
            assertEq(now_.partyStake, last.current.partyStake, "I03: partyStake");
            assertEq(now_.aggregatorStake, last.current.aggregatorStake, "I03: aggregatorStake");
            assertEq(now_.activeParties, last.current.activeParties, "I03: activeParties");
            if (last.current.phase >= Phase.Commit) {
                assertLe(now_.commitEnd, last.current.commitEnd, "I09: commitEnd");
                assertLe(now_.revealEnd, last.current.revealEnd, "I09: revealEnd");
                assertLe(now_.attestEnd, last.current.attestEnd, "I09: attestEnd");
                assertEq(now_.seed, last.current.seed, "I03: seed");
                assertEq(now_.base, last.current.base, "I07: base");
            }
        }
        last = seen;
    }

    // ------------------------------------------------------------------ entries

    function _enter(Vm.Log memory log) private {
        bytes32 kind = log.topics[0];
        if (kind == IFederation.Registered.selector) _registered(log);
        else if (kind == IFederation.Deposited.selector) _deposited(log);
        else if (kind == IFederation.UnbondRequested.selector) _unbondRequested(log);
        else if (kind == IFederation.Withdrawn.selector) _withdrawn(log);
        else if (kind == IFederation.Slashed.selector) _slashed(log);
        else if (kind == IFederation.SeedBlockNamed.selector) _seedBlockNamed(log);
        else if (kind == IFederation.RoundOpened.selector) _roundOpened(log);
        else if (kind == IFederation.Committed.selector) _committed(log);
        else if (kind == IFederation.UpdateRevealed.selector) _updateRevealed(log);
        else if (kind == IFederation.DuplicateUpdate.selector) ++books[uint256(log.topics[1])].duplicates;
        else if (kind == IFederation.ResultProposed.selector) _resultProposed(log);
        else if (kind == IFederation.Attested.selector) _attested(log);
        else if (kind == IFederation.RoundAccepted.selector) _roundAccepted(log);
        else if (kind == IFederation.RoundFinal.selector) _roundFinal(log);
        else if (kind == IFederation.RewardsFunded.selector) funded += abi.decode(log.data, (uint256));
        else if (kind == IFederation.Credited.selector) _rewardCredited(log);
        else if (kind == IFederation.RewardsDistributed.selector) _distributed(log);
        else if (kind == IFederation.RewardsWithdrawn.selector) _rewardsWithdrawn(log);
    }

    function _account(Vm.Log memory log, uint256 topic) private pure returns (address) {
        return address(uint160(uint256(log.topics[topic])));
    }

    function _registered(Vm.Log memory log) private {
        (Role role,, uint256 stake,) = abi.decode(log.data, (Role, address, uint256, uint8));
        assertEq(stakeOf[_account(log, 1)][role], 0, "registered twice");
        assertGe(stake, MIN_STAKE, "below the minimum");
        stakeOf[_account(log, 1)][role] = stake;
    }

    function _deposited(Vm.Log memory log) private {
        stakeOf[_account(log, 1)][Role.Party] += abi.decode(log.data, (uint256));
    }

    function _unbondRequested(Vm.Log memory log) private {
        (Role role,) = abi.decode(log.data, (Role, uint256));
        lastRoundOf[_account(log, 1)][role] = _round();
    }

    /// @dev I12, I16.
    function _withdrawn(Vm.Log memory log) private {
        (Role role,, uint256 amount) = abi.decode(log.data, (Role, address, uint256));
        address account = _account(log, 1);
        assertEq(amount, stakeOf[account][role], "I12: withdrawn");
        stakeOf[account][role] = 0;
        uint256 lastRound = lastRoundOf[account][role];
        if (finalHeight + 1 < history.length) {
            assertGt(history[finalHeight + 1], lastRound, "I16: withdrawn before final");
        }
        Phase phase = _current().phase;
        bool over = lastRound < _round() || phase == Phase.Idle || phase >= Phase.Accepted;
        assertTrue(over, "I16: withdrawn in the round");
        assertFalse(
            role == Role.Party && federation.observe(account).unrevealedSlashable, "I16: before its slash"
        );
    }

    /// @dev I06.
    function _slashed(Vm.Log memory log) private {
        (Role role, uint256 amount, uint256 lost) = abi.decode(log.data, (Role, uint256, uint256));
        address account = _account(log, 1);
        assertLe(amount, stakeOf[account][role], "I06: slash above stake");
        assertLe(lost, amount, "I06: burnt above slash");
        assertTrue(committed[uint256(log.topics[2])][account], "I06: slashed without a commit");
        stakeOf[account][role] -= amount;
        burnt += lost;
    }

    function _seedBlockNamed(Vm.Log memory log) private {
        RoundBook storage round = books[uint256(log.topics[1])];
        (, uint256 partyStake, uint256 aggregatorStake, uint256 activeParties) =
            abi.decode(log.data, (uint256, uint256, uint256, uint256));
        if (round.partyStake != 0) {
            assertEq(partyStake, round.partyStake, "I03: frozen again");
            assertEq(aggregatorStake, round.aggregatorStake, "I03: frozen again");
        }
        (round.partyStake, round.aggregatorStake) = (partyStake, aggregatorStake);
        round.activeParties = activeParties;
    }

    function _roundOpened(Vm.Log memory log) private {
        (uint32 base,,,) = abi.decode(log.data, (uint32, bytes32, uint256, uint256));
        assertEq(base, history[history.length - 1], "I07: the base is the head");
        books[uint256(log.topics[1])].base = base;
    }

    /// @dev I10.
    function _committed(Vm.Log memory log) private {
        uint256 round = uint256(log.topics[1]);
        assertFalse(committed[round][_account(log, 2)], "I10: committed twice");
        committed[round][_account(log, 2)] = true;
        ++books[round].commits;
    }

    /// @dev I05, I10.
    function _updateRevealed(Vm.Log memory log) private {
        uint256 round = uint256(log.topics[1]);
        (uint256 index, uint16 weight, bytes32 root,) = abi.decode(log.data, (uint256, uint16, bytes32, Cid));
        assertTrue(committed[round][_account(log, 2)], "I10: revealed without a commit");
        assertEq(index, counted[round].length, "I17: index");
        uint256 word = uint256(log.topics[2]) << 96 | weight;
        counted[round].push(CountedUpdate(word, root));
        books[round].updatesHash = keccak256(abi.encode(books[round].updatesHash, word, root));
        // Only the current round can still be accepted: of those before, none that was may have the root.
        for (uint256 i = 0; i < countedIn[root].length; ++i) {
            uint256 other = countedIn[root][i];
            assertTrue(other != round && books[other].accepted == 0, "I05: a root counts twice");
        }
        countedIn[root].push(round);
    }

    function _resultProposed(Vm.Log memory log) private {
        bytes32 digest = log.topics[2];
        assertEq(signedStake[digest], 0, "proposed twice");
        results[digest] = abi.decode(log.data, (Result));
        digests.push(digest);
    }

    /// @dev I04.
    function _attested(Vm.Log memory log) private {
        bytes32 digest = log.topics[2];
        assertFalse(signed[digest][_account(log, 3)], "I04: counted twice");
        signed[digest][_account(log, 3)] = true;
        signedStake[digest] += abi.decode(log.data, (uint256));
        uint256 frozen = books[uint256(log.topics[1])].aggregatorStake;
        assertLe(signedStake[digest], frozen, "I04: more stake than was frozen");
    }

    function _roundAccepted(Vm.Log memory log) private {
        RoundBook storage round = books[uint256(log.topics[1])];
        (bytes32 digest, uint256 reserved) = abi.decode(log.data, (bytes32, uint256));
        assertEq(uint256(log.topics[2]), history.length, "I07: height");
        assertEq(round.base, history[history.length - 1], "I07: the base of a head is the last head");
        assertEq(round.accepted, 0, "accepted twice");
        assertGt(3 * signedStake[digest], 2 * round.aggregatorStake, "I04: quorum");
        history.push(uint256(log.topics[1]));
        (round.accepted, round.reserved) = (digest, reserved);
    }

    function _roundFinal(Vm.Log memory log) private {
        assertEq(uint256(log.topics[2]), ++finalHeight, "I08: final in order");
        assertEq(uint256(log.topics[1]), history[finalHeight], "I08: final in order");
    }

    /// @dev I11: nothing is credited but here.
    function _rewardCredited(Vm.Log memory log) private {
        uint256 amount = abi.decode(log.data, (uint256));
        creditOf[_account(log, 2)] += amount;
        books[uint256(log.topics[1])].credited += amount;
    }

    function _distributed(Vm.Log memory log) private {
        RoundBook storage round = books[uint256(log.topics[1])];
        assertFalse(round.distributed, "I11: distributed twice");
        assertEq(round.credited, abi.decode(log.data, (uint256)), "I11: credited");
        assertLe(round.credited, round.reserved, "I11: credited above reserved");
        round.distributed = true;
    }

    function _rewardsWithdrawn(Vm.Log memory log) private {
        (, uint256 amount) = abi.decode(log.data, (address, uint256));
        assertEq(amount, creditOf[_account(log, 1)], "I11: paid what was credited");
        creditOf[_account(log, 1)] = 0;
        rewardsPaid += amount;
    }
}
