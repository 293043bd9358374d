// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Attestation} from "./Attestation.sol";
import {Demand, Fraud, IDisputes, Window} from "./interfaces/IDisputes.sol";
import {CountedUpdate, Result} from "./interfaces/IFederation.sol";
import {Claim, Descents, DisputeLogic} from "./libraries/DisputeLogic.sol";
import {Current, Round, Tally} from "./State.sol";

/// @title Disputes: anybody can prove that a signed result is wrong; it is revoked, and its signers are slashed
/// @notice The whole dispute game. Aggregators sign a result: "this model is the federation's rule, applied to
/// these updates to this base model". The rule is deterministic, so whoever has the updates (a watcher) can
/// compute the expected model and compare it with the signed one. If the two differ, the watcher proves it in
/// one of two ways. First, where the signed model is published: it finds a coordinate that is wrong, registers
/// the challenge (`registerChallenge`), and at least one block later calls `challenge` with Merkle proofs of
/// this coordinate in every included update, in the base model and in the signed model. The contract computes
/// this one coordinate and compares. Second, where the signers withhold the model: the watcher pays a bond and
/// calls `demand` for a node of the signed model's tree. Anybody who has the model can `answer` with the nodes
/// up to six levels below. The watcher compares them with its own tree, calls `descend` for the first node that
/// differs, and repeats this until an answer shows a chunk with a wrong coordinate, which it challenges. If
/// nobody answers within the answer period, anybody can `expire` the demand, and that alone convicts the
/// result. A convicted result is fraudulent for ever. If it was accepted, its round and all later rounds are
/// revoked, and the head is the model before it. `slashSigner` slashes one signer at a time: half of the slash
/// goes to the challenger, half is burnt. A challenge of a right coordinate reverts (`NotFraud`), so an honest
/// signer who answers its demands loses nothing. `closeDescent` ends a descent that was not continued.
/// `settleBond` pays the bond back, unless the demand was answered and the round stands: then half goes to the
/// account that answered, and half is burnt.
abstract contract Disputes is Attestation, IDisputes {
    Descents private descents;
    mapping(bytes32 digest => Fraud) private frauds;
    /// @inheritdoc IDisputes
    mapping(bytes32 hash => uint256 blockNumber) public registeredAt;

    // ------------------------------------------------------------------ a wrong coordinate

    /// @inheritdoc IDisputes
    function registerChallenge(bytes32 hash) external {
        // The first registration stands: nobody can make a challenge look younger than it is.
        if (registeredAt[hash] != 0) return;
        registeredAt[hash] = block.number;
        emit ChallengeRegistered(hash, msg.sender);
    }

    /// @inheritdoc IDisputes
    function challenge(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs,
        bytes32 salt
    ) external {
        bytes32 digest = _resultDigest(result);
        uint256 registered =
            registeredAt[keccak256(abi.encode(msg.sender, result.round, digest, coordinate, salt))];
        // Exact comparison is safe: these are block numbers, and zero means that it was not registered.
        // slither-disable-next-line incorrect-equality
        if (registered == 0 || registered == block.number) revert ChallengeNotRegistered();
        if (tallies[digest].signers == 0) revert UnknownResult();
        if (_updatesHash(updates) != result.updatesHash) revert UpdatesMismatch();

        (int256 expected, int256 claimed) = DisputeLogic.recompute(
            encodedParams,
            Claim(result.baseRoot, result.included, result.globalRoot),
            updates,
            coordinate,
            proofs
        );
        if (expected == claimed) revert NotFraud();
        emit ChallengeProven(digest, coordinate, expected, claimed);
        _convict(uint32(result.round), digest, msg.sender);
    }

    // ------------------------------------------------------------------ a withheld model

    /// @inheritdoc IDisputes
    function demand(uint32 round, uint8 level, uint256 index) external payable returns (uint256 id) {
        _requireAlive(round);
        uint256 bond;
        (id, bond) =
            DisputeLogic.begin(descents, rounds[round], encodedParams, round, level, index, msg.value);
        _credit(round, msg.sender, msg.value - bond);
    }

    /// @inheritdoc IDisputes
    function descend(uint256 previous, uint256 index) external payable returns (uint256 id) {
        uint32 round = _aliveRoundOfDemand(previous);
        uint256 bond;
        (id, bond) = DisputeLogic.descend(descents, encodedParams, previous, index, msg.value);
        _credit(round, msg.sender, msg.value - bond);
    }

    /// @inheritdoc IDisputes
    function answer(uint256 id, bytes calldata content, bytes calldata path) external {
        uint32 round = _aliveRoundOfDemand(id);
        DisputeLogic.answer(descents, rounds[round], encodedParams, id, modelRoots[round], content, path);
    }

    /// @inheritdoc IDisputes
    function expire(uint256 id, Result calldata result) external {
        uint32 round = _aliveRoundOfDemand(id);
        Demand storage asked = descents.demands[id];
        if (asked.answerer != address(0)) revert AlreadyAnswered();
        if (block.timestamp < asked.until) revert NotOverdue(asked.until);
        bytes32 digest = _resultDigest(result);
        if (!tallies[digest].accepted || result.round != round) revert UnknownResult();
        _convict(round, digest, asked.demander);
    }

    /// @inheritdoc IDisputes
    function closeDescent(uint256 id) external {
        DisputeLogic.close(descents, rounds[_roundOfDemand(id)], id);
    }

    /// @inheritdoc IDisputes
    function settleBond(uint256 id) external {
        uint32 round = _roundOfDemand(id);
        bool canonical = _isCanonical(round);
        if (canonical && rounds[round].height > treasury.finalHeight) revert NotFinal();
        (address to, uint256 amount) = DisputeLogic.settle(descents, id, canonical);
        _credit(round, to, amount);
    }

    function _roundOfDemand(uint256 id) private view returns (uint32 round) {
        round = descents.demands[id].round;
        if (round == 0) revert UnknownDemand();
    }

    function _aliveRoundOfDemand(uint256 id) private view returns (uint32 round) {
        round = _roundOfDemand(id);
        _requireAlive(round);
    }

    /// @dev The names `RoundNotAlive` and this one are older than the term canonical. The error is part of the
    /// ABI and keeps its name.
    function _requireAlive(uint32 round) private view {
        if (!_isCanonical(round)) revert RoundNotAlive();
    }

    // ------------------------------------------------------------------ conviction: revoke and slash

    /// @inheritdoc IDisputes
    function slashSigner(bytes32 digest, uint8 seat) external {
        address account = seats[seat];
        (uint32 round, address challenger, uint256 paid) = DisputeLogic.slash(
            frauds[digest], tallies[digest], account, seat, aggregators[account], live, encodedParams
        );
        _credit(round, challenger, paid);
    }

    function _convict(uint32 round, bytes32 digest, address challenger) private {
        Tally storage tally = tallies[digest];
        if (tally.fraudulent) revert AlreadyFraudulent();
        bool revoked = tally.accepted && _isCanonical(round);
        uint256 end = revoked ? _windowEnd(round) : rounds[round].attestEnd + challengePeriod;
        if (block.timestamp >= end) revert DisputeWindowClosed(end);

        tally.fraudulent = true;
        frauds[digest] = Fraud(challenger, round, 0);
        emit FraudProven(round, digest, challenger);
        Current memory present = _loadCurrent();
        _holdStakes(present);
        if (revoked) _revoke(round, present);
    }

    /// @dev A revocation orphans later rounds too. Keeps all stakes in the contract until the results of every
    /// such round can no longer be challenged, so that the slashes come before the withdrawals.
    function _holdStakes(Current memory present) private {
        uint256 attestEnd = rounds[history[present.headHeight].round].attestEnd;
        uint256 last = Math.max(block.timestamp, Math.max(attestEnd, rounds[present.round].attestEnd));
        heldUntil = Math.max(heldUntil, last + challengePeriod);
    }

    /// @dev The dispute window of this round is open, so neither it nor a later round is final.
    function _revoke(uint32 round, Current memory present) private {
        uint32 height = rounds[round].height;
        emit RoundRevoked(round, height);
        // The base of an open round is the head, which is being revoked: the open round is void too.
        if (present.commitEnd != 0 && !present.orphaned) {
            _settleRound(present);
            if (!present.accepted) emit RoundVoided(present.round);
            present.orphaned = true;
        }
        present.headHeight = height - 1;
        _storeCurrent(present);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IDisputes
    function demandById(uint256 id) external view returns (Demand memory) {
        return descents.demands[id];
    }

    /// @inheritdoc IDisputes
    function fraud(bytes32 digest) external view returns (Fraud memory) {
        return frauds[digest];
    }

    /// @inheritdoc IDisputes
    function window(uint32 round) external view returns (Window memory seen) {
        Round memory record = rounds[round];
        seen.canonical = _isCanonical(round);
        seen.openDescents = record.openDescents;
        if (record.attestEnd != 0) {
            seen.attestEnd = record.attestEnd;
            seen.windowEnd = uint40(record.attestEnd + challengePeriod);
            seen.finalAt = uint40(_windowEnd(round));
        }
    }
}
