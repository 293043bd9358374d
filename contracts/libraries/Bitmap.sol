// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Bit sets in one word
library Bitmap {
    function has(uint256 bitmap, uint256 index) internal pure returns (bool) {
        return (bitmap >> index) & 1 == 1;
    }

    /// @notice The number of bits set. One step for each of them.
    function count(uint256 bitmap) internal pure returns (uint256 bits) {
        // At most 256 steps, and one is subtracted from what is not zero.
        unchecked {
            for (; bitmap != 0; bitmap &= bitmap - 1) {
                ++bits;
            }
        }
    }
}
