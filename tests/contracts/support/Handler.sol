// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../../contracts/interfaces/IDisputes.sol";
import {
    Cid,
    CountedUpdate,
    IFederation,
    Observation,
    Phase,
    Result,
    Role,
    RoundView,
    Signature
} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "../../../contracts/interfaces/IPlainFederation.sol";
import {DisputeLedger} from "./DisputeLedger.sol";
import {Evidence} from "./Evidence.sol";
import {Reenterer, Refuser} from "./Receivers.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice Does everything a user can do but dispute, well and badly, as seven accounts in both roles. The
/// beneficiary of one refuses its money; another's enters again when it is paid; a third is never admitted as an
/// aggregator. Updates and models have two values that are not zero, and wrong models a third.
/// @dev No call of it reverts: what the federation refuses is no failure, what the books refuse is.
abstract contract Handler is DisputeLedger {
    using Vectors for Vector;

    uint256 internal constant ACTORS = 7;
    uint256 internal constant PARTY = 0;
    uint256 internal constant AGGREGATOR = 1;
    uint256 internal constant FIRST_VALUE = 3;
    uint256 internal constant SECOND_VALUE = 3 * 256 + 255;
    uint256 internal constant PADDING = 256 + 7;
    uint256 private constant OUTSIDER = 4;
    uint256 public constant REFUSED = 5;
    uint256 private constant REENTERING = 6;

    Refuser private refuser = new Refuser();
    Reenterer public reenterer = new Reenterer();
    /// @dev What each account committed to in the round.
    mapping(uint256 round => mapping(uint256 actor => Update)) private committedTo;
    /// @dev How often each action succeeded.
    mapping(bytes32 action => uint256) public done;

    /// @dev To make an address from a key takes long.
    address[] internal account;
    /// @dev The values of an update, 16 bits each.
    mapping(bytes32 root => uint256) private valuesOf;
    /// @dev Models that those who have them do not show.
    mapping(bytes32 root => bool) internal isWithheld;

    constructor(IPlainFederation federation_, address owner_, Vector memory genesis) {
        (federation, owner, disputes) = (federation_, owner_, IPlainFederation(address(federation_)));
        rules = federation.params();
        everybodyDrawn = rules.maxParties <= rules.participants;
        zeroRoot = Vectors.zero(2, rules.depth).root();
        _keep(genesis);
        for (uint256 i = 0; i <= ACTORS; ++i) {
            account.push(_party(i));
        }
        for (uint256 i = 0; i < ACTORS; ++i) {
            if (!rules.openAdmission) _admit(account[i], Role.Party);
            if (i != OUTSIDER) _admit(account[i], Role.Aggregator);
        }
        last = _observe();
        // Everybody is in at the start, with different stakes.
        for (uint256 i = 0; i < ACTORS; ++i) {
            register(i, PARTY, 1 ether + 7 * i);
            if (i != OUTSIDER) register(i, AGGREGATOR, 2 ether);
        }
        fund(20 ether);
    }

    function setUp() public override {}

    /// @dev What the re-entering beneficiary will call.
    modifier entered(uint256 kind) {
        address payee = account[REENTERING];
        bytes[7] memory calls = [
            abi.encodeCall(IFederation.withdraw, (payee, Role.Party)),
            abi.encodeCall(IFederation.withdraw, (payee, Role.Aggregator)),
            abi.encodeCall(IFederation.withdrawRewards, (payee)),
            abi.encodeCall(IFederation.requestUnbond, (payee, Role.Party)),
            abi.encodeCall(IFederation.openRound, ()),
            abi.encodeCall(IDisputes.slashSigner, (lastDigest(), uint8(REENTERING))),
            abi.encodeCall(IDisputes.settleBond, (demands.length))
        ];
        reenterer.prepare(address(federation), calls[kind % 7]);
        // What it owes, first: a call that slashes and then reverts would still be recorded.
        slashUnrevealed(REENTERING);
        _;
    }

    /// @notice All accounts that may have anything: the last is a watcher that never registers.
    function actors() external view returns (address[] memory) {
        return account;
    }

    // ------------------------------------------------------------------ accounts

    function register(uint256 actor, uint256 role, uint256 stake) public step {
        actor %= ACTORS;
        stake = _bound(stake, MIN_STAKE - 1, 5 ether);
        vm.deal(account[actor], stake);
        vm.prank(account[actor]);
        try federation.register{value: stake}(_role(role), _payee(actor)) {
            ++done["register"];
        } catch {
            refused = true;
        }
    }

    function deposit(uint256 actor, uint256 amount) public step {
        actor %= ACTORS;
        amount = _bound(amount, 0, 1 ether);
        vm.deal(account[actor], amount);
        vm.prank(account[actor]);
        try federation.deposit{value: amount}() {
            ++done["deposit"];
        } catch {
            refused = true;
        }
    }

    function requestUnbond(uint256 actor, uint256 role, uint256 by) public step {
        actor %= ACTORS;
        vm.prank(by % 2 == 0 ? account[actor] : _payee(actor));
        try federation.requestUnbond(account[actor], _role(role)) {
            ++done["requestUnbond"];
        } catch {
            refused = true;
        }
    }

    /// @dev By the next account that is leaving, if any is.
    function withdraw(uint256 actor, uint256 role, uint256 entering) public entered(entering) step {
        actor %= ACTORS;
        for (uint256 i = 0; i < ACTORS && !_isLeaving(actor, role); ++i) {
            actor = (actor + 1) % ACTORS;
        }
        vm.prank(account[actor]);
        try federation.withdraw(account[actor], _role(role)) {
            ++done["withdraw"];
        } catch {
            refused = true;
        }
    }

    function withdrawRewards(uint256 actor, uint256 entering) public entered(entering) step {
        actor %= ACTORS;
        vm.prank(_payee(actor));
        try federation.withdrawRewards(account[actor]) {
            ++done["withdrawRewards"];
        } catch {
            refused = true;
        }
    }

    function slashUnrevealed(uint256 actor) public step {
        try federation.slashUnrevealed(account[actor % ACTORS]) {
            ++done["slashUnrevealed"];
        } catch {
            refused = true;
        }
    }

    function fund(uint256 amount) public step {
        amount = _bound(amount, 0, 20 ether);
        vm.deal(address(this), amount);
        try federation.fundRewards{value: amount}() {
            ++done["fund"];
        } catch {
            refused = true;
        }
    }

    // ------------------------------------------------------------------ rounds

    function openRound(uint256 blocks) public step {
        vm.roll(block.number + (blocks % 16 == 0 ? 300 : blocks % 4));
        try federation.openRound() {
            ++done["openRound"];
        } catch {
            refused = true;
        }
    }

    function commit(uint256 actor, uint256 kind) public step {
        actor %= ACTORS;
        Update memory update = _choose(actor, kind);
        bytes32 commitment = _commitment(update);
        bool drawn = federation.observe(account[actor]).drawn;
        uint32 round = _round();
        vm.prank(account[actor]);
        try federation.commit(round, commitment) {
            ++done["commit"];
            assertTrue(drawn, "I18: not drawn");
            committedTo[_round()][actor] = update;
        } catch {
            refused = true;
        }
    }

    /// @dev A keeper's batch of three: some sign badly.
    function commitFor(uint256 actor, uint256 kind, uint256 bad) public step {
        SignedCommit[] memory batch = new SignedCommit[](3);
        uint32 round = _round();
        for (uint256 k = 0; k < 3; ++k) {
            uint256 who = (actor % ACTORS + k) % ACTORS;
            bytes32 commitment = _commitment(_choose(who, kind));
            (bytes32 r, bytes32 vs) =
                vm.signCompact(_partyKey(who), federation.commitDigest(round, account[who], commitment));
            batch[k] = SignedCommit(account[who], commitment, bad >> k & 3 == 3 ? bytes32(0) : r, vs);
        }
        try federation.commitFor(batch) {
            ++done["commitFor"];
            for (uint256 k = 0; k < 3; ++k) {
                uint256 who = (actor % ACTORS + k) % ACTORS;
                bytes26 kept = federation.observe(account[who]).committed.commitment;
                if (kept == bytes26(batch[k].commitment)) committedTo[round][who] = _choose(who, kind);
            }
        } catch {
            refused = true;
        }
    }

    /// @dev All from one actor on, some of them with one thing wrong.
    function reveal(uint256 first, uint256 count, uint256 wrong) public step {
        Update[] memory batch = new Update[](count % ACTORS + 1);
        for (uint256 k = 0; k < batch.length; ++k) {
            uint256 who = (first % ACTORS + k) % ACTORS;
            batch[k] = committedTo[_round()][who];
            if (wrong % 8 == k) batch[k].salt = bytes32(wrong);
            if (wrong % 16 == k + 8) batch[k].weight = 0;
        }
        try federation.reveal(batch) {
            ++done["reveal"];
        } catch {
            refused = true;
        }
    }

    /// @dev By any set of accounts: for a right result of the round, a wrong one, one that nobody shows, one of
    /// other updates, or the last accepted one.
    function attest(uint256 signers, uint256 kind) public step {
        Result memory result = kind % 8 == 4
            ? results[books[history[history.length - 1]].accepted]
            : _proposal(kind % 8, kind >> 8);
        Signature[] memory signatures = new Signature[](ACTORS + 1);
        bytes32 digest = federation.resultDigest(result);
        for (uint256 i = 0; i <= ACTORS; ++i) {
            if (signers >> i & 1 == 0 && i != ACTORS) continue;
            (signatures[i].r, signatures[i].vs) = vm.signCompact(i == ACTORS ? 1 : _partyKey(i), digest);
        }
        try federation.attest(result, signatures) {
            ++done["attest"];
            if (kind % 8 == 4 && result.round != 0) ++done["attest, late"];
        } catch {
            refused = true;
        }
    }

    function finalize() public step {
        try federation.finalize() {
            ++done["finalize"];
        } catch {
            refused = true;
        }
    }

    function distribute(uint256 height, uint256 wrong) public step {
        uint256 round = history[height % history.length];
        CountedUpdate[] memory updates = counted[round];
        if (wrong % 2 == 1 && updates.length != 0) ++updates[0].partyAndWeight;
        try federation.distribute(results[books[round].accepted], updates) {
            ++done["distribute"];
            assertEq(wrong % 2, 0, "I11: for other updates");
        } catch {
            refused = true;
        }
    }

    // ------------------------------------------------------------------ time

    function wait(uint256 duration) public step {
        skip(_bound(duration, 1, duration % 5 == 0 ? 4 days : 1 hours));
    }

    function waitUntil(uint256 time) internal step {
        if (time > block.timestamp) vm.warp(time);
    }

    function endPhase(Phase phase) internal step {
        _endPhase(phase);
    }

    // ------------------------------------------------------------------ updates and results

    /// @dev One's own update, one that this account and others choose in every round, or zeros.
    function _choose(uint256 actor, uint256 kind) private returns (Update memory) {
        uint256 values = uint32(uint256(keccak256(abi.encode(_round(), actor))));
        if (kind % 4 == 0) values = actor % 3 + 1;
        if (kind % 16 == 1) values = 0;
        bytes32 root = _updateVector(values).root();
        valuesOf[root] = values;
        return _updateOf(account[actor], root);
    }

    function _updateVector(uint256 values) private view returns (Vector memory vector) {
        vector = Vectors.zero(2, rules.depth);
        vector.set(FIRST_VALUE, int16(uint16(values)));
        vector.set(SECOND_VALUE, int16(uint16(values >> 16)));
    }

    /// @dev A result of the current round.
    function _proposal(uint256 kind, uint256 seed) private returns (Result memory) {
        RoundView memory round = _current();
        Evidence memory e;
        Cid memory cid = Cid(keccak256(abi.encode(kind)), DAG_PB);
        uint128 included = uint128((uint256(1) << round.reveals) - 1);
        if (kind == 2) included &= uint128(seed);
        e.result = Result(round.round, round.updatesHash, round.baseRoot, included, 0, cid);
        if (included == 0) return e.result;
        _recompute(e);
        if (kind == 1) _falsify(e, FIRST_VALUE, seed % 2 == 0 ? int256(1) : -1);
        if (kind == 5) _falsify(e, PADDING, int256(seed % 7) + 1);
        if (kind == 6) _falsify(e, PADDING + 1, int256(uint256(round.round)));
        if (kind == 6) isWithheld[e.result.globalRoot] = true;
        _keep(e.model);
        if (kind == 3) e.result.included |= uint128(1) << uint8(seed) % 128;
        return e.result;
    }

    /// @dev Fills in what a result is about, and the right model.
    function _recompute(Evidence memory e) internal view {
        e.updates = counted[e.result.round];
        e.vectors = new Vector[](e.updates.length);
        for (uint256 i = 0; i < e.updates.length; ++i) {
            e.vectors[i] = _updateVector(valuesOf[e.updates[i].root]);
        }
        e.base = _model(e.result.baseRoot);
        (Vector[] memory vectors, uint256[] memory weights) = _included(e);
        Vector memory model = e.base.copy();
        uint256[2] memory coordinates = [FIRST_VALUE, SECOND_VALUE];
        for (uint256 i = 0; i < 2; ++i) {
            uint256 coordinate = coordinates[i];
            model.set(coordinate, Vectors.nextAt(rules, e.base, vectors, weights, coordinate));
        }
        _claim(e, model);
    }

    // ------------------------------------------------------------------ choices

    function _role(uint256 role) internal pure returns (Role) {
        return role % 2 == PARTY ? Role.Party : Role.Aggregator;
    }

    function _isLeaving(uint256 actor, uint256 role) private view returns (bool) {
        Observation memory seen = federation.observe(account[actor]);
        return (role % 2 == PARTY ? seen.party.unbondAt : seen.aggregator.unbondAt) != 0;
    }

    function _payee(uint256 actor) internal view returns (address) {
        if (actor == REFUSED) return address(refuser);
        if (actor == REENTERING) return address(reenterer);
        return _beneficiary(account[actor]);
    }
}
