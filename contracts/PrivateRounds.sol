// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "./interfaces/IFederation.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateParams,
    SignedClaim,
    SignedMaskedCommit
} from "./interfaces/IPrivateFederation.sol";
import {ClaimRules, Claims} from "./libraries/Claims.sol";
import {Commit, CommitSlot} from "./libraries/CommitSlot.sol";
import {Secp256k1} from "./libraries/Secp256k1.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {PrivateStored} from "./PrivateStored.sol";
import {Rounds} from "./Rounds.sol";
import {Current} from "./Stored.sol";

/// @title Commits, reveals and claims of a private round
/// @notice A commit shows the key of a party's masks, and its weight. When all commits are known, a party masks its
/// update for them, and reveals it. Aggregators then claim which updates they hold.
abstract contract PrivateRounds is Rounds, IPrivateFederation {
    uint256 internal immutable claimPeriod;

    PrivateStored internal own;

    constructor(PrivateParams memory q) {
        claimPeriod = q.claimPeriod;
    }

    // ------------------------------------------------------------------ commit

    /// @inheritdoc IPrivateFederation
    function commit(uint32 number, uint8 weight, bytes32 maskKey) external {
        Current memory round = Shared.loadCurrent(state);
        if (number != round.round) revert WrongRound(round.round);
        bytes4 reason = _commit(round, msg.sender, weight, maskKey);
        if (reason != 0) _revertWith(reason);
        _storeCurrent(round);
    }

    /// @inheritdoc IPrivateFederation
    function commitFor(SignedMaskedCommit[] calldata batch) external {
        if (batch.length == 0) revert EmptyBatch();
        Current memory round = Shared.loadCurrent(state);
        bytes4 firstReason = 0;
        uint256 done = 0;
        for (uint256 i = 0; i < batch.length; ++i) {
            bytes4 reason = _commitSigned(round, batch[i]);
            if (reason == 0) {
                ++done;
            } else {
                if (i == 0) firstReason = reason;
                emit CommitSkipped(round.round, batch[i].party, reason);
            }
        }
        if (done == 0) revert NothingAccepted(firstReason);
        _storeCurrent(round);
    }

    /// @inheritdoc IPrivateFederation
    function commitDigest(uint32 round, address party, uint8 weight, bytes32 maskKey)
        public
        view
        returns (bytes32)
    {
        return _typedDigest(TypedData.hashMaskedCommit(round, party, weight, maskKey));
    }

    function _commitSigned(Current memory round, SignedMaskedCommit calldata signed)
        private
        returns (bytes4)
    {
        bytes32 digest = commitDigest(round.round, signed.party, signed.weight, signed.maskKey);
        address signer = _recover(digest, signed.r, signed.vs);
        if (signer == address(0) || signer != signed.party) return InvalidSignature.selector;
        return _commit(round, signed.party, signed.weight, signed.maskKey);
    }

    function _commit(Current memory round, address account, uint8 weight, bytes32 maskKey)
        private
        returns (bytes4 reason)
    {
        Commit last = state.commits[account];
        if (weight == 0 && maskKey == 0) return _comeBack(round, account, last);
        if (weight == 0) return InvalidWeight.selector;
        if (!Secp256k1.hasPoint(uint256(maskKey))) return InvalidKey.selector;
        reason = _requireCommit(round, account, last);
        if (reason != 0) return reason;
        uint256 index = round.commits;
        // Nothing commits to the update, and the weight is not zero: so these are what the slot keeps.
        bytes26 kept = bytes26(uint208(index << 8 | weight));
        state.commits[account] = CommitSlot.create(kept, round.round);
        bytes32 previous = index == 0 ? state.modelRoots[round.base] : own.commitsHash;
        // One write for each commit, though a transaction may bring many: a write to a warm slot is cheap.
        // slither-disable-next-line costly-loop
        own.commitsHash = Shared.roll(previous, uint256(uint160(account)) << 96 | weight, maskKey);
        emit Committed(round.round, account, index, weight, maskKey);
        _countCommit(round);
    }

    // ------------------------------------------------------------------ reveal

    /// @inheritdoc IPrivateFederation
    function reveal(bytes32 commitsHash, MaskedUpdate[] calldata updates) external {
        if (updates.length == 0) revert EmptyBatch();
        if (commitsHash != own.commitsHash) revert StaleCommits();
        Current memory round = Shared.loadCurrent(state);
        bytes4 firstReason = 0;
        uint256 done = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            bytes4 reason = _reveal(round, commitsHash, updates[i]);
            if (reason == 0) {
                ++done;
            } else {
                if (i == 0) firstReason = reason;
                emit RevealSkipped(round.round, updates[i].party, reason);
            }
        }
        if (done == 0) revert NothingAccepted(firstReason);
        _storeCurrent(round);
    }

    function _reveal(Current memory round, bytes32 commitsHash, MaskedUpdate calldata update)
        private
        returns (bytes4 reason)
    {
        if (_phase(round) != Phase.Reveal) return WrongPhase.selector;
        address party = update.party;
        Commit committed = state.commits[party];
        reason = _requireReveal(round, committed, update.root, update.cid);
        if (reason != 0) return reason;
        if (party != msg.sender && party != _signerOf(round, commitsHash, update)) {
            return InvalidSignature.selector;
        }
        state.commits[party] = committed.asRevealed();
        uint256 kept = uint208(committed.hash());
        emit UpdateRevealed(
            round.round, party, round.reveals, kept >> 8, uint8(kept), update.root, update.cid
        );
        _countUpdate(round, uint256(uint160(party)) << 96 | kept, update.root);
        _countOpened(round);
    }

    /// @dev Zero for an invalid signature. No party has the address zero: it could not have committed.
    function _signerOf(Current memory round, bytes32 commitsHash, MaskedUpdate calldata update)
        private
        view
        returns (address)
    {
        bytes32 structHash =
            TypedData.hashReveal(round.round, update.party, commitsHash, update.root, update.cid);
        return _recover(_typedDigest(structHash), update.r, update.vs);
    }

    // ------------------------------------------------------------------ claim

    /// @inheritdoc IPrivateFederation
    function claim(SignedClaim[] calldata) external {
        ClaimRules memory rules = ClaimRules(minUpdates, minAggregatorStake, claimPeriod, attestPeriod);
        Claims.claim(state, own, rules, msg.data);
    }
}
