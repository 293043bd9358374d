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
import {IPlainFederation} from "../../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./FederationTest.sol";

/// @dev What the events say of a round.
/// @param canonical Whether it is part of the history.
/// @param attestEnd Zero until something was attested.
/// @param slashed Whether an aggregator was slashed in it.
struct RoundBook {
    uint256 partyStake;
    uint256 aggregatorStake;
    uint256 activeParties;
    uint32 base;
    uint256 commits;
    uint256 duplicates;
    bytes32 updatesHash;
    uint256 attestEnd;
    bytes32 accepted;
    uint256 reserved;
    bool distributed;
    bool canonical;
    bool slashed;
}

/// @notice Keeps the books of a federation from its events alone, as an indexer would, and checks each entry,
/// and each step, against what came before. See INVARIANTS.md.
abstract contract Ledger is FederationTest {
    // ------------------------------------------------------------------ the books

    mapping(address account => mapping(Role role => uint256)) public stakeOf;
    /// @dev Everybody who ever registered.
    address[] internal accounts;
    mapping(address account => bool) private isAccount;
    mapping(address account => mapping(Role role => bool)) private unbonding;
    /// @dev The round in which unbonding was requested.
    mapping(address account => mapping(Role role => uint256)) private lastRoundOf;
    mapping(address account => uint256) public creditOf;
    uint256 public burnt;
    uint256 public funded;
    /// @dev What distributions have credited.
    uint256 public rewarded;
    /// @dev Of this step: all credits, and those that an event explains.
    uint256 internal credited;
    uint256 internal explained;

    mapping(uint256 round => RoundBook) internal books;
    mapping(uint256 round => CountedUpdate[]) internal counted;
    mapping(uint256 round => mapping(address party => bool)) internal committed;
    mapping(bytes32 root => uint256[] rounds) private countedIn;
    /// @dev Of an update that is zero everywhere: it belongs to nobody.
    bytes32 internal zeroRoot;
    /// @dev Who revealed a root first.
    mapping(bytes32 root => address) private holderOf;
    mapping(bytes32 digest => Result) internal results;
    mapping(bytes32 digest => uint256) public signedStake;
    mapping(bytes32 digest => mapping(address => bool)) private signed;
    bytes32[] internal digests;
    /// @dev The rounds of the history, by height; genesis is round 0.
    uint256[] public history = [0];
    uint256 public finalHeight;

    /// @dev The state before the step.
    Observation internal last;
    /// @dev Whether the federation refused the step: what it emitted before it reverted is recorded all the same.
    bool internal refused;
    /// @dev Whether the step has revoked rounds.
    bool internal revoked;

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

    function lastDigest() public view returns (bytes32) {
        return digests.length == 0 ? bytes32(0) : digests[digests.length - 1];
    }

    // ------------------------------------------------------------------ a step

    /// @dev Everything that changes the federation runs in it.
    modifier step() {
        (refused, revoked) = (false, false);
        (credited, explained) = (0, 0);
        vm.recordLogs();
        _;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length && !refused; ++i) {
            if (logs[i].emitter == address(federation)) _enter(logs[i]);
        }
        assertEq(credited, explained, "I11: a credit that nothing explains");
        _checkStep();
    }

    /// @dev I08, I09, I10: status moves forward, ends move back, and what is frozen stays.
    function _checkStep() private {
        Observation memory seen = _observe();
        RoundView memory now_ = seen.current;
        assertGe(now_.round, last.current.round, "I08: round");
        assertLe(now_.round, last.current.round + 1, "I08: round by one");
        assertGe(seen.finalHeight, last.finalHeight, "I08: finalHeight");
        if (!revoked) assertGe(seen.head.height, last.head.height, "I08: height");
        assertGe(seen.head.height, seen.finalHeight, "I21: a final round was revoked");
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

    function _enter(Vm.Log memory log) internal virtual {
        bytes32 kind = log.topics[0];
        if (kind == IFederation.Registered.selector) _registered(log);
        else if (kind == IFederation.Deposited.selector) _deposited(log);
        else if (kind == IFederation.UnbondRequested.selector) _unbondRequested(log);
        else if (kind == IFederation.Withdrawn.selector) _withdrawn(log);
        else if (kind == IFederation.Slashed.selector) _slashed(log);
        else if (kind == IFederation.SeedBlockNamed.selector) _seedBlockNamed(log);
        else if (kind == IFederation.RoundOpened.selector) _roundOpened(log);
        else if (kind == IPlainFederation.Committed.selector) _committed(log);
        else if (kind == IPlainFederation.UpdateRevealed.selector) _updateRevealed(log);
        else if (kind == IPlainFederation.DuplicateUpdate.selector) ++books[uint256(log.topics[1])].duplicates;
        else if (kind == IPlainFederation.ResultProposed.selector) _resultProposed(log);
        else if (kind == IFederation.Attested.selector) _attested(log);
        else if (kind == IFederation.RoundAccepted.selector) _roundAccepted(log);
        else if (kind == IFederation.RoundFinal.selector) _roundFinal(log);
        else if (kind == IFederation.RewardsFunded.selector) funded += abi.decode(log.data, (uint256));
        else if (kind == IFederation.Credited.selector) _rewardCredited(log);
        else if (kind == IFederation.RewardsDistributed.selector) _distributed(log);
        else if (kind == IFederation.RewardsWithdrawn.selector) _rewardsWithdrawn(log);
    }

    function _account(Vm.Log memory log, uint256 topic) internal pure returns (address) {
        return address(uint160(uint256(log.topics[topic])));
    }

    function _registered(Vm.Log memory log) internal virtual {
        (Role role,, uint256 stake,) = abi.decode(log.data, (Role, address, uint256, uint8));
        assertEq(stakeOf[_account(log, 1)][role], 0, "registered twice");
        assertGe(stake, MIN_STAKE, "below the minimum");
        address account = _account(log, 1);
        stakeOf[account][role] = stake;
        unbonding[account][role] = false;
        if (!isAccount[account]) accounts.push(account);
        isAccount[account] = true;
    }

    function _deposited(Vm.Log memory log) private {
        stakeOf[_account(log, 1)][Role.Party] += abi.decode(log.data, (uint256));
    }

    function _unbondRequested(Vm.Log memory log) private {
        (Role role,) = abi.decode(log.data, (Role, uint256));
        lastRoundOf[_account(log, 1)][role] = _round();
        unbonding[_account(log, 1)][role] = true;
    }

    /// @dev I12, I16.
    function _withdrawn(Vm.Log memory log) internal virtual {
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
    function _slashed(Vm.Log memory log) internal virtual {
        (Role role, uint256 amount, uint256 lost) = abi.decode(log.data, (Role, uint256, uint256));
        address account = _account(log, 1);
        assertLe(amount, stakeOf[account][role], "I06: slash above stake");
        if (role == Role.Party) {
            assertTrue(committed[uint256(log.topics[2])][account], "I06: slashed without a commit");
            assertEq(lost, amount, "I06: all is burnt");
        } else {
            assertEq(lost, (amount + 1) / 2, "I06: half is burnt");
            books[_round()].slashed = true;
        }
        stakeOf[account][role] -= amount;
        burnt += lost;
        explained += amount - lost;
    }

    function _seedBlockNamed(Vm.Log memory log) private {
        RoundBook storage round = books[uint256(log.topics[1])];
        (, uint256 partyStake, uint256 aggregatorStake, uint256 activeParties) =
            abi.decode(log.data, (uint256, uint256, uint256, uint256));
        if (round.partyStake != 0) {
            assertEq(partyStake, round.partyStake, "I03: frozen again");
            assertEq(aggregatorStake, round.aggregatorStake, "I03: frozen again");
        } else {
            assertEq(partyStake, _activeStake(Role.Party), "I26: parties");
            assertEq(aggregatorStake, _activeStake(Role.Aggregator), "I26: aggregators");
        }
        (round.partyStake, round.aggregatorStake) = (partyStake, aggregatorStake);
        round.activeParties = activeParties;
    }

    /// @dev Of those that reach the minimum and do not leave.
    function _activeStake(Role role) private view returns (uint256 total) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (_isActive(accounts[i], role)) total += stakeOf[accounts[i]][role];
        }
    }

    function _isActive(address account, Role role) internal view returns (bool) {
        return !unbonding[account][role] && stakeOf[account][role] >= MIN_STAKE;
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
        if (root == zeroRoot) return;
        // Only the current round can still be accepted: of those before, none that is canonical may have the root.
        for (uint256 i = 0; i < countedIn[root].length; ++i) {
            uint256 other = countedIn[root][i];
            assertTrue(other != round && !books[other].canonical, "I05: a root counts twice");
        }
        countedIn[root].push(round);
        if (holderOf[root] == address(0)) holderOf[root] = _account(log, 2);
        assertEq(holderOf[root], _account(log, 2), "I05: a copy counts");
    }

    function _resultProposed(Vm.Log memory log) private {
        bytes32 digest = log.topics[2];
        assertEq(signedStake[digest], 0, "proposed twice");
        results[digest] = abi.decode(log.data, (Result));
        books[uint256(log.topics[1])].attestEnd = _current().attestEnd;
        digests.push(digest);
    }

    /// @dev I04.
    function _attested(Vm.Log memory log) internal virtual {
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
        (round.accepted, round.reserved, round.canonical) = (digest, reserved, true);
    }

    function _roundFinal(Vm.Log memory log) internal virtual {
        assertEq(uint256(log.topics[2]), ++finalHeight, "I08: final in order");
        assertEq(uint256(log.topics[1]), history[finalHeight], "I08: final in order");
    }

    function _rewardCredited(Vm.Log memory log) private {
        uint256 amount = abi.decode(log.data, (uint256));
        creditOf[_account(log, 2)] += amount;
        credited += amount;
    }

    /// @dev I11.
    function _distributed(Vm.Log memory log) private {
        RoundBook storage round = books[uint256(log.topics[1])];
        uint256 amount = abi.decode(log.data, (uint256));
        assertFalse(round.distributed, "I11: distributed twice");
        assertTrue(round.canonical, "I11: distributed though revoked");
        assertLe(amount, round.reserved, "I11: credited above reserved");
        round.distributed = true;
        rewarded += amount;
        explained += amount;
    }

    function _rewardsWithdrawn(Vm.Log memory log) private {
        (, uint256 amount) = abi.decode(log.data, (address, uint256));
        assertEq(amount, creditOf[_account(log, 1)], "I11: paid what was credited");
        creditOf[_account(log, 1)] = 0;
    }
}
