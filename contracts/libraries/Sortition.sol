// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The draw: each party tests itself against the seed
/// @notice A party is drawn with probability `min(1, participants * stake / totalStake)`. A large stake buys
/// certainty of one seat, never two; splitting it never buys more than its share.
/// See docs/protocol.md, section 5.2.
library Sortition {
    /// @param stake The party's frozen stake, below 2^96.
    /// @param totalStake The frozen total, below 2^112.
    /// @param participants The expected number drawn, below 2^16.
    /// @dev Within these limits neither side reaches 2^240; nothing is shifted out.
    function drawn(bytes32 seed, address party, uint256 stake, uint256 totalStake, uint256 participants)
        internal
        pure
        returns (bool)
    {
        uint256 ticket = uint256(keccak256(abi.encode(seed, party))) >> 128;
        return ticket * totalStake < (participants * stake) << 128;
    }
}
