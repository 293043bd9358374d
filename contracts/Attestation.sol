// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result, Signature} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Shared} from "./libraries/Shared.sol";
import {isValidCid} from "./Parameters.sol";
import {Rewards} from "./Rewards.sol";
import {Rounds} from "./Rounds.sol";
import {Accepted, Aggregator, Current, Round, Tally} from "./Stored.sol";

/// @title Attestation: aggregators sign a result; with more than 2/3 of their stake it is the next model
abstract contract Attestation is Rounds, Rewards {
    /// @dev Requires that a result can be attested. If nobody has signed it yet, the caller emits its proposal.
    /// @return tally Who has signed it.
    /// @return present The current round, unless the result was accepted already.
    function _requireAttestable(Result calldata result, bytes32 digest)
        internal
        returns (Tally memory tally, Current memory present)
    {
        tally = state.tallies[digest];
        if (tally.fraudulent) revert FraudulentResult();
        if (tally.accepted) {
            uint32 round = uint32(result.round);
            if (!_isCanonical(round) || block.timestamp >= state.rounds[round].attestEnd) {
                revert WrongPhase();
            }
        } else {
            present = _requireCandidate(result);
        }
    }

    /// @dev Counts the signatures, and accepts the result when it has enough. The arguments `tally` and `present` are
    /// what {_requireAttestable} returned.
    function _attest(
        Result calldata result,
        bytes32 digest,
        Tally memory tally,
        Current memory present,
        Signature[] calldata signatures
    ) internal {
        uint32 round = uint32(result.round);
        _countSignatures(round, digest, tally, signatures);
        if (!tally.accepted && 3 * uint256(tally.stake) > 2 * uint256(state.rounds[round].aggregatorStake)) {
            tally.accepted = true;
            _accept(result, digest, present);
        }
        state.tallies[digest] = tally;
    }

    /// @inheritdoc IFederation
    function finalize() external {
        uint32 height = state.treasury.finalHeight + 1;
        uint32 round = state.history[height].round;
        if (height > _headHeight() || block.timestamp < _windowEnd(round)) revert NotFinalizable();
        state.treasury.finalHeight = height;
        emit RoundFinal(round, height);
    }

    /// @inheritdoc IFederation
    function attestation(bytes32 digest) external view returns (uint64, uint96, bool) {
        Tally memory tally = state.tallies[digest];
        return (tally.signers, tally.stake, tally.accepted);
    }

    /// @dev Requires that the current round could accept this result. The first such result creates the round's
    /// record.
    function _requireCandidate(Result calldata result) private returns (Current memory round) {
        round = Shared.loadCurrent(state);
        if (result.round != round.round) revert WrongRound(round.round);
        Phase phase = _phase(round);
        if (phase == Phase.Accepted) revert UnknownResult();
        if (phase != Phase.Attest) revert WrongPhase();
        if (result.updatesHash != state.updatesHash || result.baseRoot != state.modelRoots[round.base]) {
            revert StaleResult();
        }
        bool phantom = result.included >> round.reveals != 0;
        if (phantom || Bitmap.count(result.included) < minUpdates) revert InvalidBitmap();
        if (result.globalRoot == 0) revert ZeroRoot();
        if (!isValidCid(result.globalCid)) revert InvalidCid();

        Round storage record = state.rounds[round.round];
        if (record.attestEnd == 0) {
            record.attestEnd = uint40(_attestEnd(round));
            record.aggregatorStake = state.frozen.aggregatorStake;
        }
    }

    function _countSignatures(
        uint32 round,
        bytes32 digest,
        Tally memory tally,
        Signature[] calldata signatures
    ) private {
        bytes4 firstReason = 0;
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
        signer = _recover(digest, signature.r, signature.vs);
        if (signer == address(0)) return (signer, InvalidSignature.selector);
        Aggregator storage aggregator = state.aggregators[signer];
        uint256 stake = _voteWeight(aggregator, round);
        if (stake == 0) return (signer, NotAnAggregator.selector);
        uint64 seat = uint64(1) << aggregator.seat;
        if (tally.signers & seat != 0) return (signer, AlreadyAttested.selector);
        tally.signers |= seat;
        tally.stake += uint96(stake);
        emit Attested(round, digest, signer, stake);
    }

    /// @dev The base of an open round is the head, so the result becomes the head at the next height.
    function _accept(Result calldata result, bytes32 digest, Current memory round) private {
        (uint96 reserved, uint96 reservedSum) = _reserve(round.headHeight);
        ++round.headHeight;
        round.accepted = true;
        _storeCurrent(round);
        state.history[round.headHeight] = Accepted(round.round, reservedSum, false);
        state.modelRoots[round.round] = result.globalRoot;
        state.modelCidDigests[round.round] = result.globalCid.digest;
        Round storage record = state.rounds[round.round];
        record.height = round.headHeight;
        record.cidCodec = result.globalCid.codec;
        emit RoundAccepted(round.round, round.headHeight, digest, reserved);
    }
}
