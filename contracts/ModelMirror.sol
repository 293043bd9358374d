// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result, Signature} from "./interfaces/IFederation.sol";
import {Epoch, IModelMirror, Mirrored, MirrorParams} from "./interfaces/IModelMirror.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Seats} from "./libraries/Seats.sol";
import {Shared} from "./libraries/Shared.sol";
import {MirrorDisputes} from "./mirror/MirrorDisputes.sol";
import {isValidCid} from "./Parameters.sol";
import {Accepted, Round, Tally} from "./Stored.sol";

/// @title A mirror of one federation's models, on another chain
/// @notice It keeps a history as a federation does, in the same storage ({Stored}), so that the disputes are those of
/// the federation: the same linked library, with the same proofs ({Disputes} describes the game). What differs:
/// - A result comes with the signatures that a federation would count one by one, and with its updates. It was
///   signed for the federation at home, in that contract's domain.
/// - The window of a result starts when it is submitted here.
/// - A result may be submitted more than once: after nobody has answered a demand for it, or when a result below it was
///   refused. So the "round" in {Stored} is the number of a submission, `round << 8 | attempt`. A demand of an
///   earlier attempt has no effect on a later one.
/// - Nothing is slashed.
/// - The last word on the order of results has a later round: a quorum at home builds only on what stands there.
contract ModelMirror is MirrorDisputes {
    uint256 private constant UPDATES_LIMIT = 100;
    uint256 private constant MAX_WEIGHT = 255;

    constructor(MirrorParams memory m, Params memory p, bytes32[] memory seats) MirrorDisputes(m, p, seats) {}

    // ------------------------------------------------------------------ results

    /// @inheritdoc IModelMirror
    function submit(
        Result calldata result,
        CountedUpdate[] calldata updates,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external returns (uint32 submission) {
        _requireWellFormed(result, updates);
        bytes32 digest = resultDigest(result);
        bool isNew = _count(result.round, digest, seats, signers, signatures);
        return _take(result, updates, signers, signatures, digest, isNew);
    }

    /// @param isNew Whether nobody has submitted this result before.
    function _take(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 signers,
        Signature[] calldata signatures,
        bytes32 digest,
        bool isNew
    ) private returns (uint32 submission) {
        Mirrored memory known = mirrored[result.round];
        bool isOther = known.attempts != 0 && known.digest != bytes29(digest);
        if (isOther && !known.convicted && !isNew) revert AlreadyRecorded();
        if (isOther && isNew) {
            _recordEquivocation(result, updates, signers, signatures, digest, known);
            if (!known.convicted) return 0;
        } else if (!isOther) {
            if (known.disputed) revert RoundDisputed();
            if (_isCanonical(_submission(result.round, known.attempts))) revert AlreadyMirrored();
        }
        return _mirror(result, updates, signers, signatures, digest, known);
    }

    /// @inheritdoc IModelMirror
    function decide(
        Result calldata chosen,
        CountedUpdate[] calldata updates,
        Result calldata later,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external returns (uint32 submission) {
        if (later.round <= chosen.round || later.baseRoot != chosen.globalRoot) revert NotItsBase();
        if (later.round > MAX_ROUND) revert RoundOutOfRange(later.round);
        Shared.requireUpdates(updates, chosen.updatesHash);
        bytes32 digest = resultDigest(chosen);
        if (!state.tallies[digest].accepted) revert UnknownResult();
        if (state.tallies[digest].fraudulent) revert FraudulentResult();
        Mirrored memory known = mirrored[chosen.round];
        if (known.digest == bytes29(digest) && _isCanonical(_submission(chosen.round, known.attempts))) {
            revert AlreadyMirrored();
        }
        _requireQuorum(later.round, resultDigest(later), seats, signers, signatures);
        return _mirror(chosen, updates, 0, signatures[:0], digest, known);
    }

    /// @inheritdoc IModelMirror
    function finalize() external {
        uint32 height = state.treasury.finalHeight + 1;
        uint32 submission = state.history[height].round;
        if (height > Shared.headHeight(state) || !_isWindowOver(submission)) revert NotFinalizable();
        state.treasury.finalHeight = height;
        emit RoundFinal(submission, height);
    }

    /// @dev What no federation accepts, and what could not be challenged: a round of weight zero has no mean.
    function _requireWellFormed(Result calldata result, CountedUpdate[] calldata updates) private view {
        if (result.round == 0 || result.round > MAX_ROUND) revert RoundOutOfRange(result.round);
        if (result.globalRoot == 0) revert ZeroRoot();
        if (!isValidCid(result.globalCid)) revert InvalidCid();
        if (updates.length > UPDATES_LIMIT) revert InvalidUpdates();
        bool phantom = result.included >> updates.length != 0;
        if (phantom || Bitmap.count(result.included) < minUpdates) revert InvalidBitmap();
        for (uint256 i = 0; i < updates.length; ++i) {
            uint256 weight = uint96(updates[i].partyAndWeight);
            if (weight == 0 || weight > MAX_WEIGHT) revert InvalidUpdates();
        }
        Shared.requireUpdates(updates, result.updatesHash);
    }

    /// @return isNew Whether nobody has submitted this result before.
    function _count(
        uint64 round,
        bytes32 digest,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) private returns (bool isNew) {
        Tally memory tally = state.tallies[digest];
        if (tally.fraudulent) revert FraudulentResult();
        isNew = !tally.accepted;
        uint256 stake = _requireQuorum(round, digest, seats, signers, signatures);
        tally.signers = uint64(signers);
        // Only a federation uses the stake. The sum of seats may exceed what fits.
        tally.stake = stake > type(uint96).max ? type(uint96).max : uint96(stake);
        tally.accepted = true;
        state.tallies[digest] = tally;
    }

    function _requireQuorum(
        uint64 round,
        bytes32 digest,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) private view returns (uint256 stake) {
        _requireSeats(seats, _epochOf(round).seatsHash);
        return Seats.requireQuorum(seats, digest, signers, signatures);
    }

    /// @dev Two results with a quorum can be honest: an aggregator may sign a second one before the federation accepts
    /// the first. So neither is refused for ever; a later round tells which one was accepted.
    function _recordEquivocation(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 signers,
        Signature[] calldata signatures,
        bytes32 digest,
        Mirrored memory known
    ) private {
        uint32 round = uint32(result.round);
        bool decided = _decide(round, known);
        emit EquivocationRecorded(round, known.digest, digest, decided, result, updates, signers, signatures);
    }

    /// @return decided Whether the first result of a round stands in spite of another one.
    function _decide(uint32 round, Mirrored memory known) private returns (bool decided) {
        uint32 submission = _submission(round, known.attempts);
        // So that the other result can be challenged too.
        state.rounds[_submission(round, 0)].attestEnd = uint40(block.timestamp);
        if (known.convicted) return false;
        if (_isCanonical(submission)) {
            if (_isWindowOver(submission)) return true;
            _cut(state.rounds[submission].height - 1);
        }
        mirrored[round].disputed = true;
    }

    function _mirror(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 signers,
        Signature[] calldata signatures,
        bytes32 digest,
        Mirrored memory known
    ) private returns (uint32 submission) {
        uint32 height;
        (submission, height) = _append(result, digest, known);
        emit ResultMirrored(submission, digest, height, result, updates, signers, signatures);
    }

    function _append(Result calldata result, bytes32 digest, Mirrored memory known)
        private
        returns (uint32 submission, uint32 height)
    {
        if (known.attempts == type(uint8).max) revert TooManyAttempts();
        height = _settleBase(result) + 1;
        submission = _submission(result.round, known.attempts + 1);
        mirrored[result.round] = Mirrored(bytes29(digest), known.attempts + 1, false, false);
        state.history[height] = Accepted(submission, 0, false);
        state.modelRoots[submission] = result.globalRoot;
        state.modelCidDigests[submission] = result.globalCid.digest;
        Round storage record = state.rounds[submission];
        record.attestEnd = uint40(block.timestamp);
        record.height = height;
        record.cidCodec = result.globalCid.codec;
        _cut(height);
    }

    /// @dev The height of the result's base. Where it is below the head, the models above it are cut off: a quorum
    /// did not build on them. They must be of earlier rounds, and still open to challenges.
    function _settleBase(Result calldata result) private returns (uint32 height) {
        uint32 headHeight = Shared.headHeight(state);
        uint32 last = state.history[headHeight].round;
        uint32 headRound = uint32(last >> ATTEMPT_BITS);
        if (result.round <= headRound) revert RoundNotLater(headRound);
        height = headHeight;
        while (state.modelRoots[state.history[height].round] != result.baseRoot) {
            if (height <= state.treasury.finalHeight) revert NotOnHead(state.modelRoots[last]);
            --height;
        }
        if (height != headHeight) {
            // As in a challenge: it is the lowest of those that are cut off that must still be open.
            if (_isWindowOver(state.history[height + 1].round)) revert NotOnHead(state.modelRoots[last]);
            _cut(height);
            emit Superseded(height, uint32(result.round));
        }
    }

    // ------------------------------------------------------------------ seats

    /// @inheritdoc IModelMirror
    function changeSeats(
        uint64 fromRound,
        bytes32[] calldata newSeats,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external {
        uint256 nonce = epochs.length;
        Epoch memory last = epochs[nonce - 1];
        if (fromRound < last.fromRound) revert StaleSeats(last.fromRound);
        Seats.requireValid(newSeats);
        _requireSeats(seats, last.seatsHash);
        // Reverts without a quorum. Its stake is of no use here.
        // slither-disable-next-line unused-return
        Seats.requireQuorum(seats, seatChangeDigest(fromRound, newSeats), signers, signatures);
        epochs.push(Epoch(Seats.listHash(newSeats), fromRound));
        emit SeatsChanged(nonce, fromRound, newSeats);
    }

    /// @inheritdoc IModelMirror
    function seatsFor(uint64 round) external view returns (Epoch memory) {
        return _epochOf(round);
    }

    /// @inheritdoc IModelMirror
    function seatNonce() external view returns (uint256) {
        return epochs.length;
    }

    /// @inheritdoc IModelMirror
    function seatChangeDigest(uint64 fromRound, bytes32[] calldata newSeats) public view returns (bytes32) {
        bytes32 domain = Seats.domain("ModelMirror", block.chainid, address(this));
        return Seats.typedDigest(domain, Seats.hashChange(epochs.length, fromRound, newSeats));
    }

    function _requireSeats(bytes32[] calldata seats, bytes32 expected) private pure {
        if (Seats.listHash(seats) != expected) revert WrongSeats(expected);
    }

    /// @dev The latest seats for a round. The first ones are for every round. A round that is carried in time needs one
    /// step for each change that a quorum has signed in advance.
    function _epochOf(uint64 round) private view returns (Epoch memory epoch) {
        uint256 i = epochs.length - 1;
        while (epochs[i].fromRound > round) --i;
        epoch = epochs[i];
    }
}
