// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The draw (sortition): each party computes from the seed whether it takes part in the round
/// @notice A party is drawn with probability `min(1, participants * stake / totalStake)`. A party is drawn at most
/// once, however large its stake is. Splitting a stake over several accounts does not raise the expected number
/// of draws above the stake's share.
/// See docs/protocol.md, section 5.2.
library Sortition {
    /// @param stake The party's frozen stake, below 2^96.
    /// @param totalStake The frozen total, below 2^112.
    /// @param participants The expected number drawn, below 2^16.
    /// @dev Within these limits neither side reaches 2^240, so the shift loses no bits.
    function drawn(bytes32 seed, address party, uint256 stake, uint256 totalStake, uint256 participants)
        internal
        pure
        returns (bool)
    {
        uint256 ticket = uint256(keccak256(abi.encode(seed, party))) >> 128;
        return ticket * totalStake < (participants * stake) << 128;
    }
}
