// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand} from "../../../contracts/interfaces/IDisputes.sol";
import {Observation, Phase, Result} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../../contracts/interfaces/IPlainFederation.sol";
import {Evidence} from "./Evidence.sol";
import {Handler} from "./Handler.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice Disputes too, well and badly, as the same accounts and as a watcher that never registers; and parties that
/// are absent, and that the owner removes.
contract DisputeHandler is Handler {
    using Vectors for Vector;

    struct Registration {
        address challenger;
        bytes32 digest;
        uint256 coordinate;
        uint256 blockNumber;
    }

    Registration[] private registrations;

    constructor(IPlainFederation federation_, address owner_, Vector memory genesis)
        Handler(federation_, owner_, genesis)
    {}

    // ------------------------------------------------------------------ absence

    /// @dev Whoever can be, from this account on.
    function markAbsent(uint256 actor) public step {
        actor %= ACTORS;
        for (uint256 i = 0; i < ACTORS && !federation.observe(account[actor]).missing; ++i) {
            actor = (actor + 1) % ACTORS;
        }
        bool due = federation.observe(account[actor]).missing;
        try federation.markAbsent(account[actor]) {
            assertTrue(due, "I30: marked though it is not missing");
            ++done["markAbsent"];
        } catch {
            refused = true;
            assertFalse(due, "I30: missing, and cannot be marked");
        }
    }

    /// @dev With the wish only.
    function comeBack(uint256 actor) public step {
        uint32 round = _round();
        vm.prank(account[actor % ACTORS]);
        try federation.commit(round, 0) {
            ++done["comeBack"];
        } catch {
            refused = true;
        }
    }

    /// @dev And admits it again, so that it may come again.
    function remove(uint256 actor, uint256 role) public step {
        address who = account[actor % ACTORS];
        vm.startPrank(owner);
        try federation.remove(who, _role(role)) {
            ++done["remove"];
            address[] memory accounts_ = new address[](1);
            accounts_[0] = who;
            federation.admit(accounts_, _role(role));
        } catch {
            refused = true;
        }
        vm.stopPrank();
    }

    // ------------------------------------------------------------------ challenges

    function registerChallenge(uint256 who, uint256 which, uint256 where) public {
        if (digests.length == 0) return;
        _registerChallenge(account[who % account.length], _digestOf(which), _coordinate(where));
    }

    function _registerChallenge(address challenger, bytes32 digest, uint256 coordinate) private step {
        bytes32 hash =
            keccak256(abi.encode(challenger, results[digest].round, digest, coordinate, bytes32(0)));
        vm.prank(challenger);
        disputes.registerChallenge(hash);
        ++done["registerChallenge"];
        // The first time counts.
        registrations.push(Registration(challenger, digest, coordinate, disputes.registeredAt(hash)));
    }

    /// @dev I22: it succeeds if, and only if, the result is wrong at the coordinate, its window is open and the
    /// challenge was registered in time.
    function challenge(uint256 which, uint256 blocks) public step {
        if (registrations.length == 0) return;
        vm.roll(block.number + blocks % 2);
        Registration memory r =
            registrations[registrations.length - 1 - which % _min(registrations.length, 6)];
        Evidence memory e;
        e.result = results[r.digest];
        _recompute(e);
        bool inside = r.coordinate < 1024;
        int256 right = inside ? e.model.at(r.coordinate) : int256(0);
        (e.result, e.model) = (results[r.digest], _model(results[r.digest].globalRoot));
        bool wrong = inside && e.model.at(r.coordinate) != right;
        bool due = wrong && r.blockNumber < block.number && provenAt[r.digest] == 0
            && block.timestamp < _disputableUntil(r.digest);
        bytes memory proofs = _proofs(e, inside ? r.coordinate : 0);
        vm.prank(r.challenger);
        try disputes.challenge(e.result, e.updates, r.coordinate, proofs, "") {
            ++done["challenge"];
            assertTrue(due, "I22: proven though it is right, too late or too early");
        } catch {
            refused = true;
            assertFalse(due, "I22: a fraud that cannot be proven");
        }
    }

    /// @dev I23: it succeeds if, and only if, the holder of the seat signed and was not slashed for it.
    function slashSigner(uint256 which, uint256 seat) public step {
        if (digests.length == 0) return;
        bytes32 digest = _digestOf(which);
        uint8 chosen = uint8(seat % 10);
        bool due = provenAt[digest] != 0 && _hasSigned(digest, federation.seatHolder(chosen))
            && disputes.fraud(digest).slashed >> chosen & 1 == 0;
        try disputes.slashSigner(digest, chosen) {
            ++done["slashSigner"];
            assertTrue(due, "I23: slashed though it did not sign, or twice");
        } catch {
            refused = true;
            assertFalse(due, "I23: a signer that cannot be slashed");
        }
    }

    // ------------------------------------------------------------------ demands

    function demand(uint256 who, uint256 height, uint256 level, uint256 index, uint256 kind) public step {
        uint256 round = history[history.length - 1 - height % _min(history.length, 3)];
        paid = _about(rules.demandBond * (1 + openDescents[round]), kind);
        address by = account[who % account.length];
        vm.deal(by, paid);
        vm.prank(by);
        try disputes.demand{value: paid}(uint32(round), uint8(level % 4), index % 5) {
            ++done["demand"];
        } catch {
            refused = true;
        }
    }

    function descend(uint256 which, uint256 index, uint256 kind) public step {
        if (demands.length == 0) return;
        uint256 id = _demandOf(which);
        Demand memory asked = disputes.demandById(id);
        paid = _about(asked.bond, kind);
        vm.deal(asked.demander, paid);
        vm.prank(asked.demander);
        try disputes.descend{value: paid}(id, (asked.index << asked.level) + index % 5) {
            ++done["descend"];
        } catch {
            refused = true;
        }
    }

    /// @dev Rightly or wrongly, unless the model is withheld.
    function answer(uint256 who, uint256 which, uint256 wrong) public step {
        if (demands.length == 0) return;
        uint256 id = _demandOf(which);
        Demand memory asked = disputes.demandById(id);
        Result memory result = results[books[asked.round].accepted];
        if (!_isKept(result.globalRoot) || isWithheld[result.globalRoot]) return;
        Vector memory model = _model(result.globalRoot);
        if (wrong % 2 == 1) model.set((asked.index << asked.level) * 256, 12_345);
        bytes memory content = model.content(asked.level, asked.index);
        bytes memory path = model.path(asked.level, asked.index);
        bool due = books[asked.round].canonical && asked.answerer == address(0)
            && block.timestamp < asked.until && wrong % 2 == 0;
        vm.prank(account[who % account.length]);
        try disputes.answer(id, content, path) {
            ++done["answer"];
            assertTrue(due, "I27: an answer that is wrong or late");
        } catch {
            refused = true;
            assertFalse(due, "I27: a right answer is refused");
        }
    }

    /// @dev For the accepted result, or the last one.
    function expire(uint256 which, uint256 wrong) public step {
        if (demands.length == 0) return;
        uint256 id = _demandOf(which);
        bytes32 accepted = books[demands[id - 1].round].accepted;
        bytes32 named = wrong % 2 == 1 ? lastDigest() : accepted;
        Demand memory asked = disputes.demandById(id);
        bool due = books[asked.round].canonical && asked.answerer == address(0)
            && block.timestamp >= asked.until && block.timestamp < _disputableUntil(accepted)
            && named == accepted;
        try disputes.expire(id, results[named]) {
            ++done["expire"];
            assertTrue(due, "I27: guilty though it was shown, or may be shown still");
        } catch {
            refused = true;
            assertFalse(due, "I27: silence that is no guilt");
        }
    }

    function closeDescent(uint256 which) public step {
        if (demands.length == 0) return;
        try disputes.closeDescent(_demandOf(which)) {
            ++done["closeDescent"];
        } catch {
            refused = true;
        }
    }

    function settleBond(uint256 id) public step {
        id %= demands.length + 1;
        bool due = id != 0 && !demands[id - 1].settled && _isOver(demands[id - 1].round);
        try disputes.settleBond(id) {
            ++done["settleBond"];
        } catch {
            refused = true;
            assertFalse(due, "I24: a bond that cannot be settled");
        }
    }

    // ------------------------------------------------------------------ what honest accounts would do

    /// @dev A watcher: proves what is wrong of the last results, asks for what nobody shows, and for other nodes.
    function watch(uint256 seed) public {
        for (uint256 i = 0; i < _min(digests.length, 3); ++i) {
            bytes32 digest = digests[digests.length - 1 - i];
            if (provenAt[digest] == 0) _accuse(digest, seed >> (32 + 8 * i));
            // Not everybody at once: who was left out may have gone, and somebody else sit there, the next time.
            if (provenAt[digest] != 0) _slash(2 * i, seed >> (64 + 8 * i));
        }
        if (seed % 4 == 0) _slash(seed >> 8 | 1, 0);
        _walk(seed >> 8);
    }

    function _slash(uint256 which, uint256 leftOut) private {
        for (uint256 seat = 0; seat < ACTORS; ++seat) {
            if (leftOut >> seat & 1 == 0) slashSigner(which, seat);
        }
    }

    /// @dev Some steps down the tree of the last model.
    function _walk(uint256 seed) private {
        if (seed % 2 == 0) demand(seed >> 8, 0, rules.depth, 0, 0);
        else demand(seed >> 8, 0, seed >> 16, seed >> 24, 0);
        for (uint256 steps = (seed >> 8) % 4; steps != 0; --steps) {
            answer(seed >> 32, 0, 0);
            descend(0, seed >> 40, 0);
        }
        if (seed % 8 != 0) answer(seed >> 32, 0, 0);
    }

    function _accuse(bytes32 digest, uint256 seed) private {
        Evidence memory e;
        e.result = results[digest];
        if (isWithheld[e.result.globalRoot]) {
            if (books[history[history.length - 1]].accepted != digest) return;
            demand(ACTORS, 0, rules.depth, 0, 0);
            wait(rules.answerPeriod);
            expire(0, 0);
        } else {
            _recompute(e);
            Vector memory claimed = _model(results[digest].globalRoot);
            for (uint256 i = 0; i < 3; ++i) {
                uint256 coordinate = _coordinate(i);
                // Now and then it accuses falsely.
                bool right = claimed.at(coordinate) == e.model.at(coordinate);
                if (right && seed % 8 != i) continue;
                _registerChallenge(account[ACTORS], digest, coordinate);
                challenge(0, 0);
                challenge(0, 1);
                if (!right) return;
            }
        }
    }

    /// @dev An aggregator in a hurry: withdraws at the very moment when nothing holds its stake, or a second before.
    function leave(uint256 actor, uint256 early) public {
        actor %= ACTORS;
        requestUnbond(actor, AGGREGATOR, 0);
        uint256 at = federation.observe(account[actor]).aggregator.unbondAt;
        if (at == 0) return;
        if (_releasedAt(account[actor]) > at) at = _releasedAt(account[actor]);
        waitUntil(at - early % 2);
        while (_observe().finalizableAt != 0 && _observe().finalizableAt <= block.timestamp) finalize();
        withdraw(actor, AGGREGATOR, 4);
    }

    /// @dev A signer: shows what is demanded. And a keeper: cleans up.
    function serve(uint256 seed) public {
        bool closes = seed % 4 == 1;
        for (uint256 i = 0; i < _min(demands.length, 6); ++i) {
            if (disputes.demandById(_demandOf(i)).answerer == address(0)) answer(seed, i, 0);
            else if (!closes) descend(i, seed >> 16, 0);
        }
        if (closes) wait(rules.answerPeriod);
        for (uint256 i = 0; i < _min(demands.length, 6) && closes; ++i) {
            closeDescent(i);
        }
        settleBond(seed >> 8);
    }

    /// @dev Parties, aggregators and a keeper: whatever brings the round to its end, or the next one.
    function progress(uint256 seed) public {
        Phase phase = _current().phase;
        if (phase == Phase.Commit) {
            if (seed % 8 == 1) commitFor(seed >> 8, seed >> 16, seed >> 24);
            for (uint256 i = 0; i < ACTORS; ++i) {
                // In turns, one is away for six rounds.
                bool away = _round() / 6 % ACTORS == i;
                if (!away && federation.observe(account[i]).drawn) commit(i, seed >> (32 + i));
            }
            if (seed % 2 == 0 && _current().commits >= rules.minUpdates) endPhase(Phase.Commit);
        } else if (phase == Phase.Reveal) {
            reveal(seed >> 8, seed >> 16, 7);
            if (seed % 2 == 0 && _current().reveals >= rules.minUpdates) endPhase(Phase.Reveal);
        } else if (phase == Phase.Attest) {
            // Some lie, or withhold the model.
            uint8[10] memory kinds = [0, 1, 0, 0, 0, 5, 6, 6, 0, 0];
            attest(seed | 15, kinds[(seed >> 16) % 10]);
        } else {
            if (seed % 2 == 1) attest(seed >> 8, 4);
            openRound(1);
            openRound(2);
            if (_current().phase == Phase.Commit) return;
            // Too few are in.
            settle();
            for (uint256 i = 0; i < ACTORS; ++i) {
                rejoin(i);
            }
            wait(1 days);
        }
    }

    /// @dev A keeper: comes to the end of the window of the lowest round that is not final.
    function settle() public {
        if (finalHeight + 1 < history.length) waitUntil(_windowEnd(history[finalHeight + 1]));
        // Too early, if somebody has demanded.
        finalize();
        waitUntil(_observe().finalizableAt);
        finalize();
        distribute(finalHeight, 0);
    }

    /// @dev Whoever was slashed below the minimum: stakes more, or leaves and comes again.
    function rejoin(uint256 actor) public {
        actor %= ACTORS;
        Observation memory seen = federation.observe(account[actor]);
        if (seen.party.unbondAt != 0) withdraw(actor, PARTY, 4);
        else if (seen.party.stake == 0) register(actor, PARTY, 3 ether);
        else if (seen.party.stake < 2 * MIN_STAKE) deposit(actor, 1 ether);
        if (seen.aggregator.unbondAt != 0) withdraw(actor, AGGREGATOR, 4);
        else if (seen.aggregator.stake < MIN_STAKE) requestUnbond(actor, AGGREGATOR, 0);
        if (federation.observe(account[actor]).aggregator.stake == 0) register(actor, AGGREGATOR, 3 ether);
    }

    // ------------------------------------------------------------------ choices

    /// @dev One of the last four, or of the last sixteen.
    function _digestOf(uint256 which) private view returns (bytes32) {
        uint256 choices = which % 2 == 0 ? 4 : 16;
        return digests[digests.length - 1 - which / 2 % _min(digests.length, choices)];
    }

    /// @dev One of the last six.
    function _demandOf(uint256 which) private view returns (uint256) {
        return demands.length - which % _min(demands.length, 6);
    }

    /// @dev As much, one more, or one less.
    function _about(uint256 bond, uint256 kind) private pure returns (uint256) {
        if (kind % 4 == 1) return bond + 1;
        return kind % 4 == 2 && bond != 0 ? bond - 1 : bond;
    }

    function _coordinate(uint256 where) private pure returns (uint256) {
        if (where % 4 == 0) return FIRST_VALUE;
        if (where % 4 == 1) return SECOND_VALUE;
        if (where % 4 == 2) return PADDING;
        return (where >> 8) % 1100;
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
