// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, Fraud} from "./interfaces/IDisputes.sol";
import {Role} from "./interfaces/IFederation.sol";
import {Commit} from "./libraries/CommitSlot.sol";

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

/// @dev Sums over the active parties and aggregators: their stake reaches the minimum and is not unbonding.
/// @param activeParties The number of active parties.
/// @param absentParties How many of these are marked absent: no round waits for their commit.
struct Totals {
    uint96 partyStake;
    uint96 aggregatorStake;
    uint32 activeParties;
    uint32 absentParties;
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
/// @param commits The number of commits; only in a private federation, where disputes need it.
struct Round {
    uint40 attestEnd;
    uint32 height;
    uint96 aggregatorStake;
    uint8 cidCodec;
    uint40 extendedTo;
    uint32 openDescents;
    uint8 commits;
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

/// @dev All demands of a federation. Ids start at 1.
struct Descents {
    uint256 count;
    mapping(uint256 id => Demand) demands;
}

/// @dev All storage of a federation: one struct, so that a linked library can work on it.
/// Every round reuses `current`, `seed`, `updatesHash`, `frozen` and one commit slot of each party. A round adds
/// the roots of its updates and, when it is accepted, a record, a root, a CID, a height and a result.
/// @param current A packed {Current}: see {Shared}.
/// @param updatesHash Left over from an earlier round while the current round has no reveal.
/// @param live The totals of now; `frozen` has those of the time when the seed block was named.
/// @param occupiedSeats A bitmap.
/// @param history Entries above the height of the head are left over from revoked rounds and do not count.
/// @param rootHolder `uint160(party) << 96 | round`: the party that owns the root, and the last round that counted
/// it.
/// @param unrevealedSlashable Whether the round ended with commits that should have been revealed and were not.
/// @param incompleteRounds The last eight rounds, 32 bits each and the latest lowest, whose commit phase ran to its
/// deadline because not everybody who was waited for had committed. Only where everybody is drawn.
/// @param heldUntil No stake can be withdrawn before this time, so that slashes for a proven fraud come first.
/// @param registeredAt The block in which a challenge was registered.
struct Stored {
    uint256 current;
    bytes32 seed;
    bytes32 updatesHash;
    Totals live;
    Totals frozen;
    mapping(address account => Party) parties;
    mapping(address account => Aggregator) aggregators;
    mapping(address account => Payee) payees;
    mapping(address account => Commit) commits;
    mapping(address account => mapping(Role role => bool)) admitted;
    mapping(uint256 seat => address account) seats;
    uint256 occupiedSeats;
    Treasury treasury;
    mapping(uint256 round => Round) rounds;
    mapping(uint256 round => bytes32 root) modelRoots;
    mapping(uint256 round => bytes32 digest) modelCidDigests;
    mapping(uint256 height => Accepted) history;
    mapping(bytes32 root => uint256 partyAndRound) rootHolder;
    mapping(bytes32 digest => Tally) tallies;
    mapping(uint256 round => bool) unrevealedSlashable;
    uint256 incompleteRounds;
    Descents descents;
    mapping(bytes32 digest => Fraud) frauds;
    uint256 heldUntil;
    mapping(bytes32 hash => uint256 blockNumber) registeredAt;
}
