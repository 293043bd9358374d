// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Cid, Params, Phase, Result, Role} from "./interfaces/IFederation.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Parameters} from "./Parameters.sol";

/// @dev `changedAt` is the last round in which the stake changed. In that round `before` counts in place of
/// `stake`. An unbonding stake does not count, and no longer changes `changedAt`.
struct Party {
    uint96 stake;
    uint96 before;
    uint32 changedAt;
    uint32 unbondAt;
}

/// @dev A vote counts from the round `activeFrom` on; after a request to unbond, up to the round `activeUntil`.
/// The stake never grows, so the present stake is never above the frozen one.
struct Aggregator {
    uint96 stake;
    uint32 activeFrom;
    uint32 activeUntil;
    uint40 unbondAt;
    uint8 seat;
}

/// @dev `beneficiary` receives all payments of an account, in both roles. `credit` is what it has not withdrawn.
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

/// @dev Sums over the active parties and aggregators: their stake reaches the minimum and is not unbonding.
/// @param activeParties The number of active parties.
struct Totals {
    uint96 partyStake;
    uint96 aggregatorStake;
    uint32 activeParties;
}

/// @dev The current round: the one whose seed block was named last. It is packed into one storage slot.
/// @param commitEnd Zero until the round is open.
/// @param commitQuota This number of commits ends the commit phase.
/// @param opened The number of revealed commitments, counted or duplicate.
/// @param reveals The number of revealed updates that count.
/// @param base The round of the model that this one starts from.
/// @param accepted Whether a result of this round was accepted.
/// @param orphaned Whether a revocation removed the round's result or its base from the history.
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

/// @dev What is kept of a round when the next one uses {Current}. Written when the first attestation arrives,
/// because every attested result can be disputed; completed when a result is accepted.
/// @param extendedTo The time from which the round may be final, after a demand; zero without one.
/// @param openDescents The number of descents that wait for an answer or may still be continued.
struct Round {
    uint40 attestEnd;
    uint32 height;
    uint96 aggregatorStake;
    uint8 cidCodec;
    uint40 extendedTo;
    uint32 openDescents;
}

/// @dev `reservedSum` is the sum of the rewards reserved by this round and all rounds below it. The sum may
/// overflow and wrap: only differences are used, and no difference exceeds the pot.
struct Accepted {
    uint32 round;
    uint96 reservedSum;
    bool distributed;
}

/// @dev The signers of a result, as a bitmap of seats, and the stake that they signed with.
struct Tally {
    uint64 signers;
    uint96 stake;
    bool accepted;
    bool fraudulent;
}

/// @dev `pot` is the money for rewards that is not yet credited to an account. `released` is the part of the
/// reserved sums that belongs to distributed rounds, and so is no longer reserved.
struct Treasury {
    uint96 pot;
    uint96 released;
    uint32 finalHeight;
}

/// @title The storage of a federation, and the values that are derived from storage alone
/// @dev Every round reuses `current`, `seed`, `updatesHash`, `frozen` and one commit slot of each party. A round
/// adds the roots of its updates and, when it is accepted, a record, a root, a CID, a height and a result.
abstract contract State is Parameters {
    // ------------------------------------------------------------------ the EIP-712 domain
    // OpenZeppelin's EIP712 is not used: its function that describes the domain takes 1 KB of code.

    uint256 private immutable domainChainId;
    bytes32 private immutable domainSeparator;

    // ------------------------------------------------------------------ the current round

    /// @dev A packed {Current}.
    uint256 private current;
    bytes32 internal seed;
    /// @dev Left over from an earlier round while the current round has no reveal.
    bytes32 internal updatesHash;
    /// @dev The totals of now, and those of the time when the seed block was named.
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
    /// @notice No stake can be withdrawn before this time, so that slashes for a proven fraud come first.
    uint256 public heldUntil;

    // ------------------------------------------------------------------ history

    Treasury internal treasury;
    mapping(uint256 round => Round) internal rounds;
    mapping(uint256 round => bytes32 root) internal modelRoots;
    mapping(uint256 round => bytes32 digest) internal modelCidDigests;
    /// @dev Entries above the height of the head are left over from revoked rounds and do not count.
    mapping(uint256 height => Accepted) internal history;
    /// @dev `uint160(party) << 96 | round`: the party that owns the root, and the last round that counted it.
    mapping(bytes32 root => uint256 partyAndRound) internal rootHolder;
    mapping(bytes32 digest => Tally) internal tallies;
    /// @dev Whether the round ended with commits that should have been revealed and were not.
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
    // Packing and unpacking a struct compiles to much code, so it is done in one place.

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

    // ------------------------------------------------------------------ derived values

    /// @dev The base of an open round is the head, and a revocation always removes the head. So `orphaned` is
    /// enough to know that the base is no longer canonical.
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

    /// @dev Whether the next round may open. An accepted result can still receive attestations.
    function _hasEnded(Phase phase) internal pure returns (bool) {
        return phase == Phase.Idle || phase >= Phase.Accepted;
    }

    function _attestEnd(Current memory round) internal view returns (uint256) {
        return round.revealEnd + attestPeriod;
    }

    /// @dev Whether the current round has commits that should have been revealed and were not. That needs a reveal
    /// phase that ran to its deadline; it ends early only when all commits are revealed.
    function _lacksReveals(Current memory round) internal view returns (bool) {
        return round.opened < round.commits && round.commits >= minUpdates
            && block.timestamp >= round.revealEnd && !round.orphaned;
    }

    /// @dev Whether this commit should have been revealed, was not, and has not been slashed for it.
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

    /// @dev An aggregator cannot deposit, so its present stake never exceeds its frozen stake.
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
        // The reason why a signature is invalid is not used.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(digest, r, vs);
    }

    /// @dev The time at which the challenge window of an accepted round ends.
    function _windowEnd(uint256 round) internal view returns (uint256) {
        uint256 extendedTo = rounds[round].extendedTo;
        return extendedTo != 0 ? extendedTo : rounds[round].attestEnd + challengePeriod;
    }
}
