// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, SignedCommit, Update} from "./interfaces/IFederation.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {isValidCid} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Commit, Current} from "./Stored.sol";

/// @title Rounds: the two-step opening with its draw, commits and reveals
/// @dev Functions for one item of a batch return a reason: the selector of the error, or zero if the item was
/// done. A failed item changes no state. An external function loads `current` once, passes it to the functions
/// it calls, and stores it at the end.
abstract contract Rounds is StakeAccounts {
    uint256 private constant MAX_WEIGHT = 255;

    // ------------------------------------------------------------------ opening

    /// @inheritdoc IFederation
    function openRound() external {
        Current memory round = _loadCurrent();
        Phase phase = _phase(round);
        if (phase == Phase.Seeding) {
            if (block.number <= round.seedBlock) revert SeedPending(round.seedBlock);
            bytes32 blockHash = blockhash(round.seedBlock);
            // The EVM gives only the last 256 block hashes. After that a new seed block is named, and the frozen
            // stakes stay as they are.
            if (blockHash == 0) _nameSeedBlock(round);
            else _open(round, blockHash);
        } else {
            if (phase == Phase.Void && !round.orphaned) emit RoundVoided(round.round);
            else if (!_hasEnded(phase)) revert RoundInProgress(phase);
            Shared.settleRound(state, round, minUpdates);
            _freeze(round);
        }
        _storeCurrent(round);
    }

    function _freeze(Current memory round) private {
        if (state.live.activeParties < minUpdates) {
            revert NotEnoughParties(state.live.activeParties, minUpdates);
        }
        if (state.live.aggregatorStake == 0) revert NoAggregators();
        state.frozen = state.live;
        ++round.round;
        round.commitEnd = 0;
        round.commits = 0;
        round.opened = 0;
        round.reveals = 0;
        round.accepted = false;
        round.orphaned = false;
        _nameSeedBlock(round);
    }

    function _nameSeedBlock(Current memory round) private {
        round.seedBlock = block.number + 1;
        emit SeedBlockNamed(
            round.round,
            round.seedBlock,
            state.frozen.partyStake,
            state.frozen.aggregatorStake,
            state.frozen.activeParties
        );
    }

    function _open(Current memory round, bytes32 blockHash) private {
        bytes32 newSeed = keccak256(abi.encode(state.seed, blockHash, round.round));
        state.seed = newSeed;
        round.commitEnd = block.timestamp + commitPeriod;
        round.revealEnd = round.commitEnd + revealPeriod;
        // In a consortium `maxParties <= maxUpdates`, so the number of active parties fits.
        round.commitQuota = everybodyDrawn ? state.frozen.activeParties : maxUpdates;
        round.base = state.history[round.headHeight].round;
        emit RoundOpened(round.round, round.base, newSeed, round.commitEnd, round.revealEnd);
    }

    // ------------------------------------------------------------------ commit

    /// @inheritdoc IFederation
    function commit(uint32 number, bytes32 commitment) external {
        Current memory round = _loadCurrent();
        if (number != round.round) revert WrongRound(round.round);
        bytes4 reason = _commit(round, msg.sender, commitment);
        if (reason != 0) _revertWith(reason);
        _storeCurrent(round);
    }

    /// @inheritdoc IFederation
    function commitFor(SignedCommit[] calldata batch) external {
        if (batch.length == 0) revert EmptyBatch();
        Current memory round = _loadCurrent();
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

    /// @inheritdoc IFederation
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
        if (_phase(round) != Phase.Commit) return WrongPhase.selector;
        if (bytes26(commitment) == 0) return ZeroCommitment.selector;
        uint256 stake = _frozenStake(account, round.round);
        if (stake == 0) {
            return state.parties[account].stake > 0 ? NotActive.selector : NotRegistered.selector;
        }
        if (!_drawn(account, stake)) return NotDrawn.selector;
        Commit memory last = _loadCommit(account);
        if (last.round == round.round) return AlreadyCommitted.selector;

        _slashIfUnrevealed(account, last);
        _storeCommit(account, Commit(bytes26(commitment), round.round, false));
        emit Committed(round.round, account, commitment);
        if (++round.commits == round.commitQuota) {
            round.commitEnd = block.timestamp;
            round.revealEnd = round.commitEnd + revealPeriod;
            emit CommitPhaseCompleted(round.round, block.timestamp);
        }
        return 0;
    }

    function _drawn(address party, uint256 stake) private view returns (bool) {
        return Shared.isDrawn(state, party, stake, everybodyDrawn, participants);
    }

    // ------------------------------------------------------------------ reveal

    /// @inheritdoc IFederation
    function reveal(Update[] calldata updates) external {
        if (updates.length == 0) revert EmptyBatch();
        Current memory round = _loadCurrent();
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
        if (update.root == 0) return ZeroRoot.selector;
        if (!isValidCid(update.cid)) return InvalidCid.selector;
        Commit memory committed = _loadCommit(update.party);
        if (committed.round != round.round) return NoCommitment.selector;
        if (committed.revealed) return AlreadyRevealed.selector;
        if (committed.hash != bytes26(_commitment(round.round, update))) return CommitmentMismatch.selector;

        committed.revealed = true;
        _storeCommit(update.party, committed);
        if (_isTaken(update, round.round)) emit DuplicateUpdate(round.round, update.party, update.root);
        else _count(round, update);
        if (++round.opened == round.commits) {
            round.revealEnd = block.timestamp;
            emit RevealPhaseCompleted(round.round, block.timestamp);
        }
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
        uint256 holder = state.rootHolder[update.root];
        if (holder == 0) return false;
        if (address(uint160(holder >> 96)) != update.party) return true;
        uint256 round = uint96(holder);
        return round == presentRound || _isCanonical(round);
    }

    function _count(Current memory round, Update memory update) private {
        state.rootHolder[update.root] = uint256(uint160(update.party)) << 96 | round.round;
        bytes32 previous = round.reveals == 0 ? bytes32(0) : state.updatesHash;
        // One write for each update, though a transaction may bring many: a write to a warm slot is cheap.
        // slither-disable-next-line costly-loop
        state.updatesHash =
            _extendUpdatesHash(previous, uint256(uint160(update.party)) << 96 | update.weight, update.root);
        emit UpdateRevealed(round.round, update.party, round.reveals, update.weight, update.root, update.cid);
        ++round.reveals;
    }

    // ------------------------------------------------------------------ both

    function _revertWith(bytes4 selector) private pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            revert(0x00, 0x04)
        }
    }
}
