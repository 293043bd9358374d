// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Bitmap} from "../../../contracts/libraries/Bitmap.sol";

/// @notice For halmos: each check holds for every value of its parameters. See docs/assurance.md.
/// @custom:halmos --panic-error-codes *
contract BitmapSymbolic {
    function check_HasTellsTheBit(uint256 bitmap, uint256 index) external pure {
        assert(Bitmap.has(bitmap, index) == (bitmap & (1 << index) != 0));
        if (index > 255) assert(!Bitmap.has(bitmap, index));
    }

    function check_ASetBitIsHad(uint256 bitmap, uint8 index, uint8 other) external pure {
        uint256 set = bitmap | uint256(1) << index;
        assert(Bitmap.has(set, index));
        if (other != index) assert(Bitmap.has(set, other) == Bitmap.has(bitmap, other));
    }

    function check_TheCountOfEightBits(uint8 bitmap) external pure {
        uint256 bits = 0;
        for (uint256 i = 0; i < 8; ++i) {
            bits += bitmap >> i & 1;
        }
        assert(Bitmap.count(bitmap) == bits);
    }
}
