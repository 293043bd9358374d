// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, SignedCommit, Update} from "./interfaces/IFederation.sol";
import {Commit, CommitSlot} from "./libraries/CommitSlot.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {isValidCid} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Current, Totals} from "./Stored.sol";

/// @title Rounds: the two-step opening with its draw, commits and reveals
/// @dev Functions for one item of a batch return a reason: the selector of the error, or zero if the item was
/// done. A failed item changes no state. An external function loads `current` once, passes it to the functions
/// it calls, and stores it at the end.
abstract contract Rounds is StakeAccounts {
    uint256 private constant MAX_WEIGHT = 255;

    // ------------------------------------------------------------------ opening

    /// @inheritdoc IFederation
    function openRound() external {
        Current memory round = Shared.loadCurrent(state);
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
            Shared.settleRound(state, round, minUpdates, everybodyDrawn);
            _freeze(round);
        }
        _storeCurrent(round);
    }

    function _freeze(Current memory round) private {
        Totals memory live = state.live;
        if (live.activeParties < minUpdates) revert NotEnoughParties(live.activeParties, minUpdates);
        if (live.aggregatorStake == 0) revert NoAggregators();
        state.frozen = live;
        ++round.round;
        round.commitEnd = 0;
        round.commits = 0;
        // In a consortium `maxParties <= maxUpdates`, so the number of active parties fits.
        round.commitQuota = everybodyDrawn ? live.activeParties - live.absentParties : maxUpdates;
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
        round.base = state.history[round.headHeight].round;
        emit RoundOpened(round.round, round.base, newSeed, round.commitEnd, round.revealEnd);
    }

    // ------------------------------------------------------------------ commit

    /// @inheritdoc IFederation
    function commit(uint32 number, bytes32 commitment) external {
        Current memory round = Shared.loadCurrent(state);
        if (number != round.round) revert WrongRound(round.round);
        bytes4 reason = _commit(round, msg.sender, commitment);
        if (reason != 0) _revertWith(reason);
        _storeCurrent(round);
    }

    /// @inheritdoc IFederation
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
        Commit last = state.commits[account];
        if (bytes26(commitment) == 0) return _comeBack(round, account, last);
        if (_phase(round) != Phase.Commit) return WrongPhase.selector;
        uint256 stake = _frozenStake(account, round.round);
        if (stake == 0) {
            return state.parties[account].stake > 0 ? NotActive.selector : NotRegistered.selector;
        }
        if (!_drawn(account, stake)) return NotDrawn.selector;
        if (last.round() == round.round) return AlreadyCommitted.selector;

        _slashIfUnrevealed(account, last);
        if (last.isAbsent()) _waitFor(round, account);
        state.commits[account] = CommitSlot.create(bytes26(commitment), round.round);
        emit Committed(round.round, account, commitment);
        // Where too many are absent, those who are not must not make the round void by committing.
        if (++round.commits == round.commitQuota && round.commits >= minUpdates) {
            round.commitEnd = block.timestamp;
            round.revealEnd = round.commitEnd + revealPeriod;
            emit CommitPhaseCompleted(round.round, block.timestamp);
        }
        return 0;
    }

    function _drawn(address party, uint256 stake) private view returns (bool) {
        return Shared.isDrawn(state, party, stake, everybodyDrawn, participants);
    }

    // ------------------------------------------------------------------ absence

    /// @inheritdoc IFederation
    function markAbsent(address account) external {
        Current memory round = Shared.loadCurrent(state);
        Commit last = state.commits[account];
        if (!Shared.isMissing(state, round, account, last, minPartyStake, minUpdates, everybodyDrawn)) {
            revert NotMissing();
        }
        // After this, nothing of its last commit can be slashed any more. It may also leave too little to be active.
        _slashIfUnrevealed(account, last);
        if (_activeStake(account) != 0) {
            state.commits[account] = state.commits[account].asAbsent();
            ++state.live.absentParties;
            emit MarkedAbsent(round.round, account);
        }
    }

    /// @dev A commitment to zero is the wish of a party that is marked absent: to be waited for again, in the current
    /// round too, and until it has missed as many rounds as before.
    function _comeBack(Current memory round, address account, Commit last) private returns (bytes4) {
        if (!last.isAbsent() || state.parties[account].unbondAt != 0) return ZeroCommitment.selector;
        _waitFor(round, account);
        state.commits[account] = CommitSlot.create(0, round.round - 1);
        return 0;
    }

    /// @dev Counts a party that is marked absent as present. Where a round has its quota and takes commits, the party
    /// was absent when it got it. The caller stores both slots.
    function _waitFor(Current memory round, address account) private {
        // An unbonding party is counted in no total.
        if (state.parties[account].unbondAt == 0) --state.live.absentParties;
        Phase phase = _phase(round);
        if (phase == Phase.Seeding || phase == Phase.Commit) ++round.commitQuota;
        emit MarkedPresent(round.round, account);
    }

    // ------------------------------------------------------------------ reveal

    /// @inheritdoc IFederation
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
        if (update.root == 0) return ZeroRoot.selector;
        if (!isValidCid(update.cid)) return InvalidCid.selector;
        Commit committed = state.commits[update.party];
        if (committed.round() != round.round) return NoCommitment.selector;
        if (committed.isRevealed()) return AlreadyRevealed.selector;
        if (committed.hash() != bytes26(_commitment(round.round, update))) {
            return CommitmentMismatch.selector;
        }

        state.commits[update.party] = committed.asRevealed();
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
