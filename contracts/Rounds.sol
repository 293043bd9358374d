// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, IFederation, Phase} from "./interfaces/IFederation.sol";
import {Commit, CommitSlot} from "./libraries/CommitSlot.sol";
import {Shared} from "./libraries/Shared.sol";
import {isValidCid} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Current, Totals} from "./Stored.sol";

/// @title Rounds: the two-step opening with its draw, and what commits and reveals of every kind do
/// @dev Functions for one item of a batch return a reason: the selector of the error, or zero if the item was
/// done. A failed item changes no state. An external function loads `current` once, passes it to the functions
/// it calls, and stores it at the end.
abstract contract Rounds is StakeAccounts {
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

    /// @dev Requires that a party may commit in the current round, and settles what its last commit left. The caller
    /// stores the new commit, and counts it.
    function _requireCommit(Current memory round, address account, Commit last) internal returns (bytes4) {
        if (_phase(round) != Phase.Commit) return WrongPhase.selector;
        uint256 stake = _frozenStake(account, round.round);
        if (stake == 0) {
            return state.parties[account].stake > 0 ? NotActive.selector : NotRegistered.selector;
        }
        if (!_drawn(account, stake)) return NotDrawn.selector;
        if (last.round() == round.round) return AlreadyCommitted.selector;

        _slashIfUnrevealed(account, last);
        if (last.isAbsent()) _waitFor(round, account);
        return 0;
    }

    function _countCommit(Current memory round) internal {
        // Where too many are absent, those who are not must not make the round void by committing.
        if (++round.commits == round.commitQuota && round.commits >= minUpdates) {
            round.commitEnd = block.timestamp;
            round.revealEnd = round.commitEnd + revealPeriod;
            emit CommitPhaseCompleted(round.round, block.timestamp);
        }
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

    /// @dev A commit to nothing is the wish of a party that is marked absent: to be waited for again, in the current
    /// round too, and until it has missed as many rounds as before.
    function _comeBack(Current memory round, address account, Commit last) internal returns (bytes4) {
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

    /// @dev Requires that a commit can be opened with this root and CID, in the reveal phase.
    function _requireReveal(Current memory round, Commit committed, bytes32 root, Cid memory cid)
        internal
        pure
        returns (bytes4)
    {
        if (root == 0) return ZeroRoot.selector;
        if (!isValidCid(cid)) return InvalidCid.selector;
        if (committed.round() != round.round) return NoCommitment.selector;
        if (committed.isRevealed()) return AlreadyRevealed.selector;
        return 0;
    }

    /// @dev Adds a counted update to the rolling hash. The caller emits its event first: its bit in `Result.included`
    /// is `round.reveals`.
    /// @param word The party, its weight, and in a private round the index of its commit.
    function _countUpdate(Current memory round, uint256 word, bytes32 root) internal {
        bytes32 previous = round.reveals == 0 ? bytes32(0) : state.updatesHash;
        // One write for each update, though a transaction may bring many: a write to a warm slot is cheap.
        // slither-disable-next-line costly-loop
        state.updatesHash = Shared.roll(previous, word, root);
        ++round.reveals;
    }

    /// @dev Counts a commit that was opened, whether its update counts or not.
    function _countOpened(Current memory round) internal {
        if (++round.opened == round.commits) {
            round.revealEnd = block.timestamp;
            emit RevealPhaseCompleted(round.round, block.timestamp);
        }
    }

    // ------------------------------------------------------------------ both

    function _revertWith(bytes4 selector) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            revert(0x00, 0x04)
        }
    }
}
