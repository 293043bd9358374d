// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IFederation, Phase, Result, Signature} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {isValidCid} from "./Parameters.sol";
import {Rewards} from "./Rewards.sol";
import {Rounds} from "./Rounds.sol";
import {Accepted, Aggregator, Current, Round, Stage, Tally} from "./State.sol";

/// @title Attestation: aggregators sign a result; more than 2/3 of their stake make it the next model
abstract contract Attestation is Rounds, Rewards {
    /// @inheritdoc IFederation
    function attest(Result calldata result, Signature[] calldata signatures) external {
        if (signatures.length == 0) revert EmptyBatch();
        bytes32 digest = _resultDigest(result);
        Tally memory tally = tallies[digest];
        if (tally.accepted) {
            _requireAttestable(result.round);
            _countSignatures(uint32(result.round), digest, tally, signatures);
        } else {
            Round memory round = _requireCandidate(result);
            if (tally.signers == 0) emit ResultProposed(uint32(result.round), digest, result);
            _countSignatures(uint32(result.round), digest, tally, signatures);
            if (3 * uint256(tally.stake) > 2 * uint256(round.aggregatorStake)) {
                tally.accepted = true;
                _accept(result, digest, round);
            }
            rounds[result.round] = round;
        }
        tallies[digest] = tally;
    }

    /// @inheritdoc IFederation
    function finalize() external {
        uint32 height = treasury.finalHeight + 1;
        if (height > current.headHeight) revert NotFinalizable();
        uint32 round = history[height].round;
        if (block.timestamp < _windowEnd(_loadRound(round))) revert NotFinalizable();
        treasury.finalHeight = height;
        emit RoundFinal(round, height);
    }

    /// @inheritdoc IFederation
    function resultDigest(Result calldata result) external view returns (bytes32) {
        return _resultDigest(result);
    }

    /// @inheritdoc IFederation
    function attestation(bytes32 digest) external view returns (uint64, uint96, bool) {
        Tally memory tally = tallies[digest];
        return (tally.signers, tally.stake, tally.accepted);
    }

    /// @dev Late signers of an accepted result are counted, and paid, until the round's attest deadline.
    function _requireAttestable(uint256 number) private view {
        Round memory round = _loadRound(number);
        if (!_isAlive(number, round) || block.timestamp >= round.attestEnd) revert WrongPhase();
    }

    /// @dev Requires that a result may become the current round's.
    /// @return record The round's record, new with the first attestation.
    function _requireCandidate(Result calldata result) private view returns (Round memory record) {
        Current memory round = _loadCurrent();
        if (result.round != round.round) revert WrongRound(round.round);
        Phase phase = _phase(round);
        if (phase == Phase.Accepted) revert UnknownResult();
        if (phase != Phase.Attest) revert WrongPhase();
        if (result.updatesHash != updatesHash || result.baseRoot != modelRoots[round.base]) {
            revert StaleResult();
        }
        bool phantom = result.included >> round.reveals != 0;
        if (phantom || Bitmap.count(result.included) < minUpdates) revert InvalidBitmap();
        if (result.globalRoot == 0) revert ZeroRoot();
        if (!isValidCid(result.globalCid)) revert InvalidCid();

        record = _loadRound(round.round);
        if (record.attestEnd == 0) {
            record.base = round.base;
            record.attestEnd = _attestEnd(round);
            record.aggregatorStake = frozen.aggregatorStake;
        }
    }

    function _countSignatures(
        uint32 round,
        bytes32 digest,
        Tally memory tally,
        Signature[] calldata signatures
    ) private {
        bytes4 firstReason;
        uint256 done = 0;
        for (uint256 i = 0; i < signatures.length; ++i) {
            (address signer, bytes4 reason) = _countSignature(round, digest, tally, signatures[i]);
            if (reason == 0) {
                ++done;
            } else {
                if (i == 0) firstReason = reason;
                emit AttestationSkipped(round, digest, signer, reason);
            }
        }
        if (done == 0) revert NothingAccepted(firstReason);
    }

    function _countSignature(uint32 round, bytes32 digest, Tally memory tally, Signature calldata signature)
        private
        returns (address signer, bytes4 reason)
    {
        ECDSA.RecoverError failure;
        (signer, failure,) = ECDSA.tryRecover(digest, signature.r, signature.vs);
        if (failure != ECDSA.RecoverError.NoError) return (signer, InvalidSignature.selector);
        Aggregator memory aggregator = _loadAggregator(signer);
        uint96 stake = _voteWeight(aggregator, round);
        if (stake == 0) return (signer, NotAnAggregator.selector);
        if (Bitmap.has(tally.signers, aggregator.seat)) return (signer, AlreadyAttested.selector);
        tally.signers |= uint64(1) << aggregator.seat;
        tally.stake += stake;
        emit Attested(round, digest, signer, stake);
    }

    /// @dev The base of an open round is the head: the result becomes the next one.
    function _accept(Result calldata result, bytes32 digest, Round memory record) private {
        Current memory round = _loadCurrent();
        (uint96 reserved, uint96 reservedSum) = _reserve(round.headHeight);
        ++round.headHeight;
        round.stage = Stage.Accepted;
        _storeCurrent(round);
        history[round.headHeight] = Accepted(round.round, reservedSum, false);
        modelRoots[round.round] = result.globalRoot;
        modelCidDigests[round.round] = result.globalCid.digest;
        record.acceptedAt = uint40(block.timestamp);
        record.height = round.headHeight;
        record.cidCodec = result.globalCid.codec;
        emit RoundAccepted(round.round, round.headHeight, digest, reserved);
    }
}
