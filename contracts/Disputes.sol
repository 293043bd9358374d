// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Attestation} from "./Attestation.sol";
import {Demand, Fraud, IDisputes, Window} from "./interfaces/IDisputes.sol";
import {CountedUpdate, Result} from "./interfaces/IFederation.sol";
import {Claim, Descents, DisputeLogic} from "./libraries/DisputeLogic.sol";
import {Current, Round, Tally} from "./State.sol";

/// @title Disputes: one honest watcher undoes a wrong result and makes its signers pay
/// @notice Two ways to prove a result wrong: by one coordinate that is not what the rule gives (`challenge`), or
/// by its signers not showing it (`demand`, `answer`, `expire`).
abstract contract Disputes is Attestation, IDisputes {
    Descents private descents;
    mapping(bytes32 digest => Fraud) private frauds;
    /// @inheritdoc IDisputes
    mapping(bytes32 hash => uint256 blockNumber) public registeredAt;

    // ------------------------------------------------------------------ a wrong coordinate

    /// @inheritdoc IDisputes
    function registerChallenge(bytes32 hash) external {
        // Whoever registers it again, to make it look younger, changes nothing.
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
        // A block's number, and zero for none: nobody can bring it to miss them.
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

    // ------------------------------------------------------------------ a result that nobody shows

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

    function _requireAlive(uint32 round) private view {
        if (!_isCanonical(round)) revert RoundNotAlive();
    }

    // ------------------------------------------------------------------ what follows from a fraud

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

    /// @dev Gives the slashes of every round that a revocation may kill time to arrive.
    function _holdStakes(Current memory present) private {
        uint256 attestEnd = rounds[history[present.headHeight].round].attestEnd;
        uint256 last = Math.max(block.timestamp, Math.max(attestEnd, rounds[present.round].attestEnd));
        heldUntil = Math.max(heldUntil, last + challengePeriod);
    }

    /// @dev Its window is open, so neither this round nor a later one is final.
    function _revoke(uint32 round, Current memory present) private {
        uint32 height = rounds[round].height;
        emit RoundRevoked(round, height);
        // Its base is the head.
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
