// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev The claims of a round, in one slot. What an earlier round left counts as nothing.
/// @param claimEnd When the claim phase ends. Until a round's first claim, the reveal phase's end and `claimPeriod`.
/// @param locked The updates that more than 2/3 of the frozen stake claim, as a bitmap of places.
/// @param seats The seats that have claimed, as a bitmap.
struct Claiming {
    uint32 round;
    uint40 claimEnd;
    uint128 locked;
    uint16 seats;
}

/// @dev The storage that only a private federation has. Every round reuses all of it.
/// @param commitsHash Left over from an earlier round while the current one has no commit.
/// @param held What a seat claims to hold, as a bitmap of places. It counts if `claiming` has the seat.
struct PrivateStored {
    bytes32 commitsHash;
    Claiming claiming;
    mapping(uint256 seat => uint256 bitmap) held;
}
