// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev The last commit of a party, in one slot: the high 208 bits of the commitment, 40 bits of the round, six that
/// are free, whether the party was marked absent since, and whether the commit was revealed. The commitment is zero
/// once the party was slashed for not revealing it. While a party is active, {Totals} counts its mark.
type Commit is uint256;

using CommitSlot for Commit global;

/// @title Reading and writing a {Commit}
library CommitSlot {
    uint256 private constant REVEALED = 1;
    uint256 private constant ABSENT = 2;

    /// @notice A commit that is not revealed, of a party that is present.
    function create(bytes26 commitment, uint256 inRound) internal pure returns (Commit) {
        return Commit.wrap(uint256(bytes32(commitment)) | inRound << 8);
    }

    /// @notice What is kept of the commitment.
    function hash(Commit slot) internal pure returns (bytes26) {
        return bytes26(bytes32(Commit.unwrap(slot)));
    }

    function round(Commit slot) internal pure returns (uint256) {
        return uint40(Commit.unwrap(slot) >> 8);
    }

    function isRevealed(Commit slot) internal pure returns (bool) {
        return Commit.unwrap(slot) & REVEALED != 0;
    }

    function isAbsent(Commit slot) internal pure returns (bool) {
        return Commit.unwrap(slot) & ABSENT != 0;
    }

    function withoutHash(Commit slot) internal pure returns (Commit) {
        return Commit.wrap(uint48(Commit.unwrap(slot)));
    }

    function asRevealed(Commit slot) internal pure returns (Commit) {
        return Commit.wrap(Commit.unwrap(slot) | REVEALED);
    }

    function asAbsent(Commit slot) internal pure returns (Commit) {
        return Commit.wrap(Commit.unwrap(slot) | ABSENT);
    }

    function asPresent(Commit slot) internal pure returns (Commit) {
        return Commit.wrap(Commit.unwrap(slot) & ~ABSENT);
    }
}
