// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Cid, Params, Phase, Result, Role} from "./interfaces/IFederation.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Parameters} from "./Parameters.sol";

/// @dev A party that has a stake and is not unbonding is registered. Its stake is frozen at the round
/// `changedAt`, the last in which it changed: in that round `before` counts, not `stake`.
struct Party {
    uint96 stake;
    uint96 before;
    uint32 changedAt;
    uint32 unbondAt;
}

/// @dev A vote counts in the rounds `activeFrom <= round < inactiveFrom` (0: no end). The stake never grows,
/// so that the smaller of a frozen and the present stake is the present one.
struct Aggregator {
    uint96 stake;
    uint32 activeFrom;
    uint32 inactiveFrom;
    uint40 unbondAt;
    uint8 seat;
}

/// @dev Where the money of an account goes, for both roles; and the rewards it has not withdrawn.
struct Payee {
    address beneficiary;
    uint96 credit;
}

enum CommitState {
    Pending,
    Opened,
    Slashed
}

/// @dev The last commit of a party. `hash` is the high 208 bits of the commitment.
struct Commit {
    bytes26 hash;
    uint40 round;
    CommitState state;
}

/// @dev Sums over the parties and aggregators whose stake reaches the minimum and is not unbonding.
/// @param activeParties How many parties these are.
/// @param registeredParties Those below the minimum included.
struct Totals {
    uint96 partyStake;
    uint96 aggregatorStake;
    uint32 activeParties;
    uint32 registeredParties;
}

/// @dev The part of a round's status that time alone does not tell.
enum Stage {
    None,
    Seeding,
    Open,
    Accepted,
    Void
}

/// @dev The round whose seed block was named last, in one slot.
/// @param commitQuota As many commits complete the commit phase.
/// @param opened Commitments opened, counted or duplicate.
/// @param reveals Those that count.
/// @param base The round of the model that this one starts from.
/// @param headHeight The height of the head of the history, in whatever stage the round is.
struct Current {
    uint32 round;
    uint40 seedBlock;
    uint40 commitEnd;
    uint40 revealEnd;
    uint8 commits;
    uint8 commitQuota;
    uint8 opened;
    uint8 reveals;
    Stage stage;
    uint32 base;
    uint32 headHeight;
}

/// @dev What outlives the current slot: written when a round's first attestation arrives (what is attested
/// can be disputed), completed by its acceptance.
struct Round {
    uint32 base;
    uint40 attestEnd;
    uint40 acceptedAt;
    uint32 height;
    uint96 aggregatorStake;
    uint8 cidCodec;
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
abstract contract State is Parameters, EIP712 {
    // ------------------------------------------------------------------ the current round

    Current internal current;
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
    mapping(address account => Commit) internal commits;
    mapping(Role role => mapping(address account => bool)) internal admitted;
    mapping(uint256 seat => address account) internal seats;
    uint64 internal occupiedSeats;

    // ------------------------------------------------------------------ history

    Treasury internal treasury;
    mapping(uint256 round => Round) internal rounds;
    mapping(uint256 round => bytes32 root) internal modelRoots;
    mapping(uint256 round => bytes32 digest) internal modelCidDigests;
    /// @dev Entries above the head are void.
    mapping(uint256 height => Accepted) internal history;
    /// @dev The last round in which a root was revealed and counted.
    mapping(bytes32 root => uint256 round) internal rootRound;
    mapping(bytes32 digest => Tally) internal tallies;
    /// @dev Rounds that ended with commits which should have been revealed and were not.
    mapping(uint256 round => bool) internal unrevealedSlashable;

    constructor(Params memory p) Parameters(p) EIP712("Federation", "1") {
        // Genesis is the model of round 0, at height 0.
        modelRoots[0] = p.genesisRoot;
        modelCidDigests[0] = p.genesisCid.digest;
        rounds[0].cidCodec = p.genesisCid.codec;
    }

    // ------------------------------------------------------------------ reading and writing whole slots
    // Packing and unpacking a struct is long code: here it stands once.

    function _loadCurrent() internal view returns (Current memory) {
        return current;
    }

    function _storeCurrent(Current memory round) internal {
        current = round;
    }

    function _loadRound(uint256 round) internal view returns (Round memory) {
        return rounds[round];
    }

    function _loadParty(address account) internal view returns (Party memory) {
        return parties[account];
    }

    function _loadAggregator(address account) internal view returns (Aggregator memory) {
        return aggregators[account];
    }

    function _loadCommit(address account) internal view returns (Commit memory) {
        return commits[account];
    }

    // ------------------------------------------------------------------ what follows from it

    /// @dev A revocation makes an open round void by its stage: the base of an open round is the head, and
    /// dies with any revocation.
    function _phase(Current memory round) internal view returns (Phase) {
        if (round.stage == Stage.None) return Phase.Idle;
        if (round.stage == Stage.Seeding) return Phase.Seeding;
        if (round.stage == Stage.Accepted) return Phase.Accepted;
        if (round.stage == Stage.Void) return Phase.Void;
        if (block.timestamp < round.commitEnd) return Phase.Commit;
        if (round.commits < minUpdates) return Phase.Void;
        if (block.timestamp < round.revealEnd) return Phase.Reveal;
        if (round.reveals < minUpdates) return Phase.Void;
        if (block.timestamp < _attestEnd(round)) return Phase.Attest;
        return Phase.Void;
    }

    /// @dev Nothing of it is to come, except more attestations of an accepted result.
    function _hasEnded(Phase phase) internal pure returns (bool) {
        return phase == Phase.Idle || phase == Phase.Accepted || phase == Phase.Void;
    }

    function _attestEnd(Current memory round) internal view returns (uint40) {
        return round.revealEnd + attestPeriod;
    }

    /// @dev Whether the current round has commits that should have been revealed and were not: its reveal
    /// phase ran to its deadline (it ends early only when all are revealed).
    function _lacksReveals(Current memory round) internal view returns (bool) {
        return (round.stage == Stage.Open || round.stage == Stage.Accepted) && round.commits >= minUpdates
            && round.opened < round.commits && block.timestamp >= round.revealEnd;
    }

    /// @dev Whether a commit in this round that is not revealed by now costs its party.
    function _revealWasDue(uint256 round) internal view returns (bool) {
        if (unrevealedSlashable[round]) return true;
        Current memory present = _loadCurrent();
        return round == present.round && _lacksReveals(present);
    }

    /// @dev Whether a round, given its record, was accepted and is part of the history.
    function _isAlive(uint256 round, Round memory record) internal view returns (bool) {
        return record.acceptedAt != 0 && record.height <= current.headHeight
            && history[record.height].round == round;
    }

    /// @dev Since nothing is deposited to it, an aggregator's present stake never exceeds its frozen one.
    function _voteWeight(Aggregator memory aggregator, uint256 round) internal view returns (uint96) {
        bool active = aggregator.activeFrom != 0 && aggregator.activeFrom <= round
            && (aggregator.inactiveFrom == 0 || round < aggregator.inactiveFrom);
        return active && aggregator.stake >= minAggregatorStake ? aggregator.stake : 0;
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
        return _hashTypedDataV4(TypedData.hashResult(result));
    }

    /// @dev When the challenge window of an accepted round is over.
    function _windowEnd(Round memory record) internal view virtual returns (uint256) {
        return uint256(record.attestEnd) + challengePeriod;
    }
}
