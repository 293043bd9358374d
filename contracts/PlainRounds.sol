// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Params, Phase} from "./interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "./interfaces/IPlainFederation.sol";
import {ChunkTree} from "./libraries/ChunkTree.sol";
import {Commit, CommitSlot} from "./libraries/CommitSlot.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Rounds} from "./Rounds.sol";
import {Current} from "./Stored.sol";

/// @title Commits and reveals of a plain round: a party commits to its update, and opens the commitment
abstract contract PlainRounds is Rounds, IPlainFederation {
    uint256 private constant MAX_WEIGHT = 255;

    /// @dev The root of an update that is zero everywhere.
    bytes32 private immutable zeroRoot;

    constructor(Params memory p) {
        zeroRoot = ChunkTree.zeroRoot(2, p.depth);
    }

    // ------------------------------------------------------------------ commit

    /// @inheritdoc IPlainFederation
    function commit(uint32 number, bytes32 commitment) external {
        Current memory round = Shared.loadCurrent(state);
        if (number != round.round) revert WrongRound(round.round);
        bytes4 reason = _commit(round, msg.sender, commitment);
        if (reason != 0) _revertWith(reason);
        _storeCurrent(round);
    }

    /// @inheritdoc IPlainFederation
    function commitFor(SignedCommit[] calldata batch) external {
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

    /// @inheritdoc IPlainFederation
    function commitDigest(uint32 round, address party, bytes32 commitment) public view returns (bytes32) {
        return _typedDigest(TypedData.hashCommit(round, party, commitment));
    }

    function _commitSigned(Current memory round, SignedCommit memory signed) private returns (bytes4) {
        bytes32 digest = commitDigest(round.round, signed.party, signed.commitment);
        address signer = _recover(digest, signed.r, signed.vs);
        if (signer == address(0) || signer != signed.party) return InvalidSignature.selector;
        return _commit(round, signed.party, signed.commitment);
    }

    function _commit(Current memory round, address account, bytes32 commitment) private returns (bytes4) {
        Commit last = state.commits[account];
        if (bytes26(commitment) == 0) return _comeBack(round, account, last);
        bytes4 reason = _requireCommit(round, account, last);
        if (reason != 0) return reason;
        state.commits[account] = CommitSlot.create(bytes26(commitment), round.round);
        emit Committed(round.round, account, commitment);
        _countCommit(round);
        return 0;
    }

    // ------------------------------------------------------------------ reveal

    /// @inheritdoc IPlainFederation
    function reveal(Update[] calldata updates) external {
        if (updates.length == 0) revert EmptyBatch();
        Current memory round = Shared.loadCurrent(state);
        bytes4 firstReason = 0;
        uint256 done = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            bytes4 reason = _reveal(round, updates[i]);
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

    function _reveal(Current memory round, Update memory update) private returns (bytes4) {
        if (_phase(round) != Phase.Reveal) return WrongPhase.selector;
        if (update.weight == 0 || update.weight > MAX_WEIGHT) return InvalidWeight.selector;
        Commit committed = state.commits[update.party];
        bytes4 reason = _requireReveal(round, committed, update.root, update.cid);
        if (reason != 0) return reason;
        if (committed.hash() != bytes26(_commitment(round.round, update))) {
            return CommitmentMismatch.selector;
        }

        state.commits[update.party] = committed.asRevealed();
        if (_isTaken(update, round.round)) emit DuplicateUpdate(round.round, update.party, update.root);
        else _count(round, update);
        _countOpened(round);
        return 0;
    }

    function _commitment(uint256 round, Update memory update) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid,
                address(this),
                round,
                update.party,
                update.root,
                update.cid,
                update.weight,
                update.salt
            )
        );
    }

    /// @dev A root belongs to the party that revealed it first. That party may reveal it again if the earlier round
    /// was void or revoked. Another party may never reveal it: otherwise everybody could copy the updates of a
    /// void round, which are public by then.
    function _isTaken(Update memory update, uint256 presentRound) private view returns (bool) {
        if (update.root == zeroRoot) return false;
        uint256 holder = state.rootHolder[update.root];
        if (holder == 0) return false;
        if (address(uint160(holder >> 96)) != update.party) return true;
        uint256 round = uint96(holder);
        return round == presentRound || _isCanonical(round);
    }

    function _count(Current memory round, Update memory update) private {
        if (update.root != zeroRoot) {
            state.rootHolder[update.root] = uint256(uint160(update.party)) << 96 | round.round;
        }
        emit UpdateRevealed(round.round, update.party, round.reveals, update.weight, update.root, update.cid);
        _countUpdate(round, uint256(uint160(update.party)) << 96 | update.weight, update.root);
    }
}
