// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IDisputes} from "../interfaces/IDisputes.sol";
import {CountedUpdate, IFederation, Phase, Role} from "../interfaces/IFederation.sol";
import {Aggregator, Current, Party, Payee, Round, Stored} from "../Stored.sol";
import {Commit} from "./CommitSlot.sol";
import {Sortition} from "./Sortition.sol";

/// @title What a federation and the libraries linked to it do alike with its storage
/// @notice Mostly values that are derived from it. A federation knows its parameters as immutables, a linked
/// library reads them from {Parameters-params}: so they are arguments here.
library Shared {
    /// @dev A party that has missed so many incomplete rounds in a row is no longer waited for.
    uint256 private constant MISSED_ROUNDS = 3;

    // ------------------------------------------------------------------ reading and writing whole slots
    // Packing and unpacking a struct compiles to much code, so it is done in one place.

    function loadCurrent(Stored storage state) internal view returns (Current memory round) {
        uint256 word = state.current;
        round.round = uint32(word);
        round.seedBlock = uint40(word >> 32);
        round.commitEnd = uint40(word >> 72);
        round.revealEnd = uint40(word >> 112);
        round.base = uint32(word >> 152);
        round.headHeight = uint32(word >> 184);
        round.commits = uint8(word >> 216);
        round.commitQuota = uint8(word >> 224);
        round.opened = uint8(word >> 232);
        round.reveals = uint8(word >> 240);
        round.accepted = (word >> 248) & 1 == 1;
        round.orphaned = word >> 249 == 1;
    }

    function storeCurrent(Stored storage state, Current memory round) internal {
        uint256 word = round.round | round.seedBlock << 32 | round.commitEnd << 72 | round.revealEnd << 112
            | uint256(round.base) << 152 | uint256(round.headHeight) << 184 | round.commits << 216
            | round.commitQuota << 224 | round.opened << 232 | round.reveals << 240;
        if (round.accepted) word |= 1 << 248;
        if (round.orphaned) word |= 1 << 249;
        state.current = word;
    }

    function headHeight(Stored storage state) internal view returns (uint32) {
        return uint32(state.current >> 184);
    }

    // ------------------------------------------------------------------ the current round

    /// @dev The base of an open round is the head, and a revocation always removes the head. So `orphaned` is
    /// enough to know that the base is no longer canonical.
    function phase(Current memory round, uint256 minUpdates, uint256 attestPeriod)
        internal
        view
        returns (Phase)
    {
        if (round.commitEnd == 0) return round.round == 0 ? Phase.Idle : Phase.Seeding;
        if (round.orphaned) return Phase.Void;
        if (round.accepted) return Phase.Accepted;
        if (block.timestamp < round.commitEnd) return Phase.Commit;
        if (round.commits < minUpdates) return Phase.Void;
        if (block.timestamp < round.revealEnd) return Phase.Reveal;
        if (round.reveals < minUpdates) return Phase.Void;
        if (block.timestamp < round.revealEnd + attestPeriod) return Phase.Attest;
        return Phase.Void;
    }

    /// @dev Whether the current round has commits that should have been revealed and were not. That needs a reveal
    /// phase that ran to its deadline; it ends early only when all commits are revealed.
    function lacksReveals(Current memory round, uint256 minUpdates) internal view returns (bool) {
        return round.opened < round.commits && round.commits >= minUpdates
            && block.timestamp >= round.revealEnd && !round.orphaned;
    }

    /// @dev Records which commits were not revealed, and whether commits were waited for in vain, before `current` is
    /// reused or the round is orphaned by a revocation. Idempotent.
    function settleRound(Stored storage state, Current memory round, uint256 minUpdates, bool everybodyDrawn)
        internal
    {
        if (lacksReveals(round, minUpdates)) state.unrevealedSlashable[round.round] = true;
        if (isIncomplete(round, minUpdates, everybodyDrawn)) {
            state.incompleteRounds = state.incompleteRounds << 32 | round.round;
        }
    }

    /// @dev Whether the commit phase of the current round ran to its deadline because not everybody who was waited for
    /// had committed. A round without `minUpdates` commits says nothing of one party: nobody may have been able to
    /// commit. Nor does a round that was orphaned in its commit phase.
    function isIncomplete(Current memory round, uint256 minUpdates, bool everybodyDrawn)
        internal
        view
        returns (bool)
    {
        return everybodyDrawn && !round.orphaned && round.commits >= minUpdates
            && round.commits < round.commitQuota && block.timestamp >= round.commitEnd;
    }

    /// @dev Whether an active party may be marked absent: it has missed the last `MISSED_ROUNDS` incomplete rounds, and
    /// has not committed since. It was active in all of them: its stake has not changed since the first one's seed
    /// block was named. Not while a round has its quota and still takes commits: who is absent in such a round was
    /// absent when it got its quota.
    function isMissing(
        Stored storage state,
        Current memory round,
        address account,
        Commit last,
        uint256 minPartyStake,
        uint256 minUpdates,
        bool everybodyDrawn
    ) internal view returns (bool) {
        // Seeding, or the commit phase.
        if (block.timestamp < round.commitEnd || round.commitEnd == 0) return false;
        uint256 missed = state.incompleteRounds;
        if (isIncomplete(round, minUpdates, everybodyDrawn)) missed = missed << 32 | round.round;
        uint256 first = uint32(missed >> 32 * (MISSED_ROUNDS - 1));
        Party storage party = state.parties[account];
        return !last.isAbsent() && last.round() < first && party.changedAt < first
            && effectiveStake(party.stake, party.unbondAt, minPartyStake) != 0;
    }

    /// @dev Whether this commit should have been revealed, was not, and has not been slashed for it.
    function revealIsMissing(Stored storage state, Commit committed, uint256 minUpdates)
        internal
        view
        returns (bool)
    {
        if (committed.isRevealed() || committed.hash() == 0) return false;
        if (state.unrevealedSlashable[committed.round()]) return true;
        Current memory round = loadCurrent(state);
        return committed.round() == round.round && lacksReveals(round, minUpdates);
    }

    // ------------------------------------------------------------------ accounts

    /// @dev A stake below the minimum, or unbonding, counts as zero.
    function effectiveStake(uint256 stake, uint256 unbondAt, uint256 minPartyStake)
        internal
        pure
        returns (uint256)
    {
        bool unbonding = unbondAt > 0;
        return !unbonding && stake >= minPartyStake ? stake : 0;
    }

    /// @dev The stake of a party that counts in the current round.
    function frozenStake(Party storage party, uint256 currentRound, uint256 minPartyStake)
        internal
        view
        returns (uint256)
    {
        return party.changedAt == currentRound
            ? party.before
            : effectiveStake(party.stake, party.unbondAt, minPartyStake);
    }

    /// @dev An aggregator cannot deposit, so its present stake never exceeds its frozen stake.
    function voteWeight(Aggregator storage aggregator, uint256 round, uint256 minAggregatorStake)
        internal
        view
        returns (uint256)
    {
        uint256 stake = aggregator.stake;
        bool left = aggregator.unbondAt != 0 && aggregator.activeUntil < round;
        bool counts = aggregator.activeFrom <= round && !left && stake >= minAggregatorStake;
        return counts ? stake : 0;
    }

    function isAdmitted(Stored storage state, address account, Role role, bool openAdmission)
        internal
        view
        returns (bool)
    {
        return state.admitted[account][role] || (role == Role.Party && openAdmission);
    }

    /// @dev Whether the current round draws a party with this frozen stake, above zero.
    function isDrawn(
        Stored storage state,
        address party,
        uint256 stake,
        bool everybodyDrawn,
        uint256 participants
    ) internal view returns (bool) {
        return everybodyDrawn
            || Sortition.drawn(state.seed, party, stake, state.frozen.partyStake, participants);
    }

    function credit(Stored storage state, uint256 round, address account, uint256 amount) internal {
        if (amount != 0) {
            // Saturates instead of reverting: a full credit must not make a slash or a distribution fail.
            Payee storage payee = state.payees[account];
            payee.credit = uint96(Math.min(payee.credit + amount, type(uint96).max));
            emit IFederation.Credited(uint32(round), account, amount);
        }
    }

    // ------------------------------------------------------------------ results

    /// @dev Every rolling hash: over a round's counted reveals, in their order, from zero; and over its commits.
    function roll(bytes32 previous, uint256 word, bytes32 item) internal pure returns (bytes32) {
        return keccak256(abi.encode(previous, word, item));
    }

    function requireUpdates(CountedUpdate[] calldata updates, bytes32 expected) internal pure {
        bytes32 hash = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            hash = roll(hash, updates[i].partyAndWeight, updates[i].root);
        }
        if (hash != expected) revert IFederation.UpdatesMismatch();
    }

    /// @dev Requires that the sender has registered this challenge, and that the result can be convicted.
    function requireChallengeable(
        Stored storage state,
        uint64 round,
        bytes32 digest,
        uint256 coordinate,
        bytes32 salt
    ) internal view {
        uint256 registered = state.registeredAt[
            keccak256(abi.encode(msg.sender, round, digest, coordinate, salt))
        ];
        // Exact comparison is safe: these are block numbers, and zero means that it was not registered.
        // slither-disable-next-line incorrect-equality
        if (registered == 0 || registered == block.number) revert IDisputes.ChallengeNotRegistered();
        if (state.tallies[digest].signers == 0) revert IFederation.UnknownResult();
        // Before the proofs are read: whoever loses the race for the proof pays as little as possible.
        if (state.tallies[digest].fraudulent) revert IDisputes.AlreadyFraudulent();
    }

    // ------------------------------------------------------------------ history

    /// @dev Whether a round was accepted and is part of the history.
    function isCanonical(Stored storage state, uint256 round) internal view returns (bool) {
        uint256 height = state.rounds[round].height;
        return height != 0 && height <= headHeight(state) && state.history[height].round == round;
    }

    /// @dev The time at which the challenge window of an accepted round ends.
    function windowEnd(Round storage record, uint256 challengePeriod) internal view returns (uint256) {
        uint256 extendedTo = record.extendedTo;
        return extendedTo != 0 ? extendedTo : record.attestEnd + challengePeriod;
    }

    /// @dev The part of the pot that no round of the history has reserved.
    function freePot(Stored storage state, uint32 height) internal view returns (uint96) {
        unchecked {
            return state.treasury.pot - (state.history[height].reservedSum - state.treasury.released);
        }
    }
}
