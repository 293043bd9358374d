// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, Phase} from "./IFederation.sol";

/// @notice The state of an account in one role, as of the current round.
/// @param stake Present stake, in wei.
/// @param frozenStake The stake that counts in the current round; zero when it does not count.
/// @param unbondAt The earliest time of a withdrawal; zero when not unbonding.
/// @param admitted Whether the account may register in this role.
/// @param seat The aggregator's seat; zero for a party.
struct StakeView {
    uint96 stake;
    uint96 frozenStake;
    uint40 unbondAt;
    bool admitted;
    uint8 seat;
}

/// @notice A party's commit slot.
/// @param commitment The high 208 bits of the commitment; zero once the party was slashed for it.
/// @param absent Whether the party was marked absent and has not come back.
struct CommitView {
    bytes26 commitment;
    uint40 round;
    bool revealed;
    bool absent;
}

/// @notice The current round. Ends are exclusive: a phase lasts while `block.timestamp < end`. Fields that a
/// round has only after it opened (ends, base, seed and others) are zero before.
/// @param commitQuota This number of commits ends the commit phase, where it is at least `minUpdates`.
/// @param opened The number of revealed commitments, counted or duplicate.
/// @param reveals The number of those that count.
struct RoundView {
    uint32 round;
    Phase phase;
    uint40 seedBlock;
    uint40 commitEnd;
    uint40 revealEnd;
    uint40 attestEnd;
    uint8 commits;
    uint8 commitQuota;
    uint8 opened;
    uint8 reveals;
    uint32 activeParties;
    uint96 partyStake;
    uint96 aggregatorStake;
    uint32 base;
    bytes32 baseRoot;
    Cid baseCid;
    bytes32 seed;
    bytes32 updatesHash;
}

/// @notice An accepted model.
struct ModelView {
    uint32 height;
    uint32 round;
    bytes32 root;
    Cid cid;
}

/// @notice Everything that a role needs for its decisions, read in one call at one block.
/// @param drawn Whether the current round draws the account, whatever the phase is now.
/// @param unrevealedSlashable Whether `slashUnrevealed` of this account would succeed.
/// @param missing Whether `markAbsent` of this account would succeed.
/// @param finalHeight The last final height.
/// @param finalizableAt The time from which `finalize` may be called; zero when there is nothing to finalize.
/// @param freePot Rewards that no round has reserved, in wei.
struct Observation {
    uint256 blockNumber;
    uint256 timestamp;
    RoundView current;
    ModelView head;
    uint32 finalHeight;
    uint40 finalizableAt;
    uint96 freePot;
    StakeView party;
    StakeView aggregator;
    CommitView committed;
    bool drawn;
    bool unrevealedSlashable;
    bool missing;
    address beneficiary;
    uint96 credit;
}
