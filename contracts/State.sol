// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Cid, Params, Phase, Result, Role} from "./interfaces/IFederation.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Parameters} from "./Parameters.sol";

/// @dev In the round `changedAt`, the last in which the stake changed, `before` counts instead of it. A stake
/// that is unbonding no longer counts, and `changedAt` stays.
struct Party {
    uint96 stake;
    uint96 before;
    uint32 changedAt;
    uint32 unbondAt;
}

/// @dev A vote counts from the round `activeFrom` on and, while unbonding, up to `activeUntil`. The stake never
/// grows, so that the smaller of a frozen and the present stake is the present one.
struct Aggregator {
    uint96 stake;
    uint32 activeFrom;
    uint32 activeUntil;
    uint40 unbondAt;
    uint8 seat;
}

/// @dev Where the money of an account goes, for both roles; and the rewards it has not withdrawn.
struct Payee {
    address beneficiary;
    uint96 credit;
}

/// @dev The last commit of a party, in one slot. `hash` is the high 208 bits of the commitment, or zero once the
/// party was slashed for not revealing it.
struct Commit {
    bytes26 hash;
    uint256 round;
    bool revealed;
}

/// @dev Sums over the parties and aggregators whose stake reaches the minimum and is not unbonding.
/// @param activeParties How many parties these are.
struct Totals {
    uint96 partyStake;
    uint96 aggregatorStake;
    uint32 activeParties;
}

/// @dev The round whose seed block was named last, in one slot.
/// @param commitEnd Zero until the round is open.
/// @param commitQuota As many commits complete the commit phase.
/// @param opened Commitments opened, counted or duplicate.
/// @param reveals Those that count.
/// @param base The round of the model that this one starts from.
/// @param accepted Whether a result of this round was accepted.
/// @param orphaned Whether a revocation took the round's result or its base.
/// @param headHeight The height of the head of the history.
struct Current {
    uint32 round;
    uint256 seedBlock;
    uint256 commitEnd;
    uint256 revealEnd;
    uint256 commits;
    uint256 commitQuota;
    uint256 opened;
    uint256 reveals;
    bool accepted;
    bool orphaned;
    uint32 base;
    uint32 headHeight;
}

/// @dev What outlives the current slot: written when a round's first attestation arrives (what is attested
/// can be disputed), completed by its acceptance.
/// @param extendedTo When the round may become final, once somebody demanded its tree; zero before.
/// @param openDescents Descents that wait for an answer, or may still be continued.
struct Round {
    uint40 attestEnd;
    uint32 height;
    uint96 aggregatorStake;
    uint8 cidCodec;
    uint40 extendedTo;
    uint32 openDescents;
}

/// @dev `reservedSum` is what this round and all below it reserved. The sums wrap; only their differences
/// are used, and none exceeds the pot.
struct Accepted {
    uint32 round;
    uint96 reservedSum;
    bool distributed;
}

/// @dev Who signed a result: a bitmap of seats, and the stake they signed with.
struct Tally {
    uint64 signers;
    uint96 stake;
    bool accepted;
    bool fraudulent;
}

/// @dev `pot` holds the rewards nobody has been credited with. `released` is the part of the reserved sums
/// that distributed rounds have given up.
struct Treasury {
    uint96 pot;
    uint96 released;
    uint32 finalHeight;
}

/// @title What a federation stores, and what follows from it alone
/// @dev A round uses `current`, `seed`, `updatesHash`, `frozen` and one commit slot of each party again and
/// again; it adds a record, a root, a CID, a height and a result when it is accepted, and the roots of its
/// updates.
abstract contract State is Parameters {
    // ------------------------------------------------------------------ the EIP-712 domain
    // Not OpenZeppelin's EIP712, whose description of the domain takes a kilobyte of code.

    uint256 private immutable domainChainId;
    bytes32 private immutable domainSeparator;

    // ------------------------------------------------------------------ the current round

    /// @dev A packed {Current}.
    uint256 private current;
    bytes32 internal seed;
    /// @dev Meaningless while the current round has no reveal.
    bytes32 internal updatesHash;
    /// @dev Stakes as they are now, and as they were when the seed block was named.
    Totals internal live;
    Totals internal frozen;

    // ------------------------------------------------------------------ accounts

    mapping(address account => Party) internal parties;
    mapping(address account => Aggregator) internal aggregators;
    mapping(address account => Payee) internal payees;
    /// @dev A packed {Commit} each.
    mapping(address account => uint256) private commits;
    mapping(address account => mapping(Role role => bool)) internal admitted;
    mapping(uint256 seat => address account) internal seats;
    /// @dev A bitmap.
    uint256 internal occupiedSeats;
    /// @notice No stake leaves before, so that the slashes for a proven fraud arrive first.
    uint256 public heldUntil;

    // ------------------------------------------------------------------ history

    Treasury internal treasury;
    mapping(uint256 round => Round) internal rounds;
    mapping(uint256 round => bytes32 root) internal modelRoots;
    mapping(uint256 round => bytes32 digest) internal modelCidDigests;
    /// @dev Entries above the head are void.
    mapping(uint256 height => Accepted) internal history;
    /// @dev `uint160(party) << 96 | round`: whose root it is, and the last round in which it was counted.
    mapping(bytes32 root => uint256 partyAndRound) internal rootHolder;
    mapping(bytes32 digest => Tally) internal tallies;
    /// @dev Rounds that ended with commits which should have been revealed and were not.
    mapping(uint256 round => bool) internal unrevealedSlashable;

    constructor(Params memory p) Parameters(p) {
        domainChainId = block.chainid;
        domainSeparator = TypedData.domainSeparator();
        // Genesis is the model of round 0, at height 0.
        modelRoots[0] = p.genesisRoot;
        modelCidDigests[0] = p.genesisCid.digest;
        rounds[0].cidCodec = p.genesisCid.codec;
    }

    // ------------------------------------------------------------------ reading and writing whole slots
    // Packing and unpacking a struct is long code: here it stands once.

    function _loadCurrent() internal view returns (Current memory round) {
        uint256 word = current;
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

    function _storeCurrent(Current memory round) internal {
        uint256 word = round.round | round.seedBlock << 32 | round.commitEnd << 72 | round.revealEnd << 112
            | uint256(round.base) << 152 | uint256(round.headHeight) << 184 | round.commits << 216
            | round.commitQuota << 224 | round.opened << 232 | round.reveals << 240;
        if (round.accepted) word |= 1 << 248;
        if (round.orphaned) word |= 1 << 249;
        current = word;
    }

    function _headHeight() internal view returns (uint32) {
        return uint32(current >> 184);
    }

    function _currentRound() internal view returns (uint32) {
        return uint32(current);
    }

    function _loadCommit(address account) internal view returns (Commit memory committed) {
        uint256 word = commits[account];
        committed.hash = bytes26(bytes32(word));
        committed.round = uint40(word >> 8);
        committed.revealed = word & 1 == 1;
    }

    function _storeCommit(address account, Commit memory committed) internal {
        uint256 word = uint256(bytes32(committed.hash)) | committed.round << 8;
        if (committed.revealed) word |= 1;
        commits[account] = word;
    }

    // ------------------------------------------------------------------ what follows from it

    /// @dev The base of an open round is the head, and so dies with any revocation: `orphaned` says it all.
    function _phase(Current memory round) internal view returns (Phase) {
        if (round.commitEnd == 0) return round.round == 0 ? Phase.Idle : Phase.Seeding;
        if (round.orphaned) return Phase.Void;
        if (round.accepted) return Phase.Accepted;
        if (block.timestamp < round.commitEnd) return Phase.Commit;
        if (round.commits < minUpdates) return Phase.Void;
        if (block.timestamp < round.revealEnd) return Phase.Reveal;
        if (round.reveals < minUpdates) return Phase.Void;
        if (block.timestamp < _attestEnd(round)) return Phase.Attest;
        return Phase.Void;
    }

    /// @dev Nothing of it is to come, except more attestations of an accepted result.
    function _hasEnded(Phase phase) internal pure returns (bool) {
        return phase == Phase.Idle || phase >= Phase.Accepted;
    }

    function _attestEnd(Current memory round) internal view returns (uint256) {
        return round.revealEnd + attestPeriod;
    }

    /// @dev Whether the current round has commits that should have been revealed and were not: its reveal
    /// phase ran to its deadline (it ends early only when all are revealed).
    function _lacksReveals(Current memory round) internal view returns (bool) {
        return round.opened < round.commits && round.commits >= minUpdates
            && block.timestamp >= round.revealEnd && !round.orphaned;
    }

    /// @dev Whether a commit should have been revealed and was not, and was not slashed for it.
    function _revealIsMissing(Commit memory committed) internal view returns (bool) {
        if (committed.revealed || committed.hash == 0) return false;
        if (unrevealedSlashable[committed.round]) return true;
        Current memory round = _loadCurrent();
        return committed.round == round.round && _lacksReveals(round);
    }

    /// @dev Whether a round was accepted and is part of the history.
    function _isCanonical(uint256 round) internal view returns (bool) {
        uint256 height = rounds[round].height;
        return height != 0 && height <= _headHeight() && history[height].round == round;
    }

    /// @dev Since nothing is deposited to it, an aggregator's present stake never exceeds its frozen one.
    function _voteWeight(Aggregator storage aggregator, uint256 round) internal view returns (uint256) {
        uint256 stake = aggregator.stake;
        bool left = aggregator.unbondAt != 0 && aggregator.activeUntil < round;
        bool counts = aggregator.activeFrom <= round && !left && stake >= minAggregatorStake;
        return counts ? stake : 0;
    }

    function _modelCid(uint256 round) internal view returns (Cid memory) {
        return Cid(modelCidDigests[round], rounds[round].cidCodec);
    }

    /// @dev The rolling hash over a round's counted reveals, in their order, from zero.
    function _extendUpdatesHash(bytes32 previous, uint256 partyAndWeight, bytes32 root)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(previous, partyAndWeight, root));
    }

    function _resultDigest(Result calldata result) internal view returns (bytes32) {
        return _typedDigest(TypedData.hashResult(result));
    }

    function _typedDigest(bytes32 structHash) internal view returns (bytes32) {
        bool forked = block.chainid != domainChainId;
        bytes32 domain = forked ? TypedData.domainSeparator() : domainSeparator;
        return MessageHashUtils.toTypedDataHash(domain, structHash);
    }

    /// @dev The signer of an ERC-2098 compact signature with a low s; zero when it is invalid.
    function _recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address signer) {
        // Why it is invalid makes no difference.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(digest, r, vs);
    }

    /// @dev When the challenge window of an accepted round is over.
    function _windowEnd(uint256 round) internal view returns (uint256) {
        uint256 extendedTo = rounds[round].extendedTo;
        return extendedTo != 0 ? extendedTo : rounds[round].attestEnd + challengePeriod;
    }
}
