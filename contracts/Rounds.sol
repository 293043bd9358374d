// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IFederation, Phase, SignedCommit, Update} from "./interfaces/IFederation.sol";
import {Sortition} from "./libraries/Sortition.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {isValidCid} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Commit, CommitState, Current, Party, Stage, Totals} from "./State.sol";

/// @title Rounds: the two-step opening with its draw, commits and reveals
/// @dev An item of a batch that fails gives the selector of its error as the reason, zero when done, and leaves
/// no trace. Whoever loads `current` passes it on, and stores it at the end.
abstract contract Rounds is StakeAccounts {
    uint256 private constant MAX_WEIGHT = 255;

    // ------------------------------------------------------------------ opening

    /// @inheritdoc IFederation
    function openRound() external {
        Current memory round = _loadCurrent();
        if (round.stage != Stage.Seeding) {
            _endRound(round);
            _freeze(round);
        } else if (block.number <= round.seedBlock) {
            revert SeedPending(round.seedBlock);
        } else {
            bytes32 blockHash = blockhash(round.seedBlock);
            // Only the last 256 hashes can be had: too late, and another block decides. The freeze stands.
            if (blockHash == 0) _nameSeedBlock(round, frozen);
            else _open(round, blockHash);
        }
        _storeCurrent(round);
    }

    function _endRound(Current memory round) private {
        Phase phase = _phase(round);
        if (!_hasEnded(phase)) revert RoundInProgress(phase);
        _settle(round);
    }

    /// @dev Records what must outlive the slot of the current round, which is over, or loses its base. A
    /// second call changes nothing.
    function _settle(Current memory round) internal {
        if (_lacksReveals(round)) unrevealedSlashable[round.round] = true;
        if (round.stage == Stage.Open) {
            round.stage = Stage.Void;
            emit RoundVoided(round.round);
        }
    }

    function _freeze(Current memory round) private {
        Totals memory totals = live;
        if (totals.activeParties < minUpdates) revert NotEnoughParties(totals.activeParties, minUpdates);
        if (totals.aggregatorStake == 0) revert NoAggregators();
        frozen = totals;
        ++round.round;
        round.stage = Stage.Seeding;
        _nameSeedBlock(round, totals);
    }

    function _nameSeedBlock(Current memory round, Totals memory totals) private {
        round.seedBlock = uint40(block.number + 1);
        emit SeedBlockNamed(
            round.round, round.seedBlock, totals.partyStake, totals.aggregatorStake, totals.activeParties
        );
    }

    function _open(Current memory round, bytes32 blockHash) private {
        bytes32 newSeed = keccak256(abi.encode(seed, blockHash, round.round));
        seed = newSeed;
        round.commitEnd = uint40(block.timestamp) + commitPeriod;
        round.revealEnd = round.commitEnd + revealPeriod;
        round.commits = 0;
        // In a consortium the parties that may register fit `maxUpdates`.
        round.commitQuota = everybodyDrawn ? uint8(frozen.activeParties) : maxUpdates;
        round.opened = 0;
        round.reveals = 0;
        round.base = history[round.headHeight].round;
        round.stage = Stage.Open;
        emit RoundOpened(round.round, round.base, newSeed, round.commitEnd, round.revealEnd);
    }

    // ------------------------------------------------------------------ commit

    /// @inheritdoc IFederation
    function commit(bytes32 commitment) external {
        Current memory round = _loadCurrent();
        bytes4 reason = _commit(round, msg.sender, commitment);
        if (reason != 0) _revertWith(reason);
        _storeCurrent(round);
    }

    /// @inheritdoc IFederation
    function commitFor(SignedCommit[] calldata batch) external {
        if (batch.length == 0) revert EmptyBatch();
        Current memory round = _loadCurrent();
        bytes4 firstReason;
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
        return _hashTypedDataV4(TypedData.hashCommit(round, party, commitment));
    }

    function _commitSigned(Current memory round, SignedCommit calldata signed) private returns (bytes4) {
        bytes32 digest = commitDigest(round.round, signed.party, signed.commitment);
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, signed.r, signed.vs);
        if (failure != ECDSA.RecoverError.NoError || signer != signed.party) {
            return InvalidSignature.selector;
        }
        return _commit(round, signed.party, signed.commitment);
    }

    function _commit(Current memory round, address account, bytes32 commitment) private returns (bytes4) {
        if (_phase(round) != Phase.Commit) return WrongPhase.selector;
        if (commitment == 0) return ZeroCommitment.selector;
        Party memory party = _loadParty(account);
        uint256 stake = _frozenStake(party, round.round);
        if (stake == 0) return party.stake == 0 ? NotRegistered.selector : NotActive.selector;
        if (!_drawn(account, stake)) return NotDrawn.selector;
        if (commits[account].round == round.round) return AlreadyCommitted.selector;

        _settleLastCommit(account);
        commits[account] = Commit(bytes26(commitment), round.round, CommitState.Pending);
        emit Committed(round.round, account, commitment);
        if (++round.commits == round.commitQuota) {
            round.commitEnd = uint40(block.timestamp);
            round.revealEnd = round.commitEnd + revealPeriod;
            emit CommitPhaseCompleted(round.round, block.timestamp);
        }
        return 0;
    }

    /// @dev Whether the current round draws a party with this frozen stake, above zero.
    function _drawn(address party, uint256 stake) internal view returns (bool) {
        return everybodyDrawn || Sortition.drawn(seed, party, stake, frozen.partyStake, participants);
    }

    // ------------------------------------------------------------------ reveal

    /// @inheritdoc IFederation
    function reveal(Update[] calldata updates) external {
        if (updates.length == 0) revert EmptyBatch();
        Current memory round = _loadCurrent();
        bytes4 firstReason;
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

    function _reveal(Current memory round, Update calldata update) private returns (bytes4) {
        if (_phase(round) != Phase.Reveal) return WrongPhase.selector;
        if (update.weight == 0 || update.weight > MAX_WEIGHT) return InvalidWeight.selector;
        if (update.root == 0) return ZeroRoot.selector;
        if (!isValidCid(update.cid)) return InvalidCid.selector;
        Commit memory committed = _loadCommit(update.party);
        if (committed.round != round.round) return NoCommitment.selector;
        if (committed.state != CommitState.Pending) return AlreadyRevealed.selector;
        if (committed.hash != bytes26(_commitment(round.round, update))) return CommitmentMismatch.selector;

        commits[update.party].state = CommitState.Opened;
        if (_isTaken(update.root, round.round)) emit DuplicateUpdate(round.round, update.party, update.root);
        else _count(round, update);
        if (++round.opened == round.commits) {
            round.revealEnd = uint40(block.timestamp);
            emit RevealPhaseCompleted(round.round, block.timestamp);
        }
        return 0;
    }

    function _commitment(uint256 round, Update calldata update) private view returns (bytes32) {
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

    /// @dev A root belongs to the round that counted it first, unless that round is void or revoked.
    function _isTaken(bytes32 root, uint256 presentRound) private view returns (bool) {
        uint256 holder = rootRound[root];
        return holder != 0 && (holder == presentRound || _isAlive(holder, _loadRound(holder)));
    }

    function _count(Current memory round, Update calldata update) private {
        rootRound[update.root] = round.round;
        bytes32 previous = round.reveals == 0 ? bytes32(0) : updatesHash;
        updatesHash =
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
