// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Bitmap} from "../../../contracts/libraries/Bitmap.sol";

/// @notice See Bitmap.tree.
contract BitmapTest is Test {
    function test_Has_WhenABitIsSetOrNot() public pure {
        assertTrue(Bitmap.has(5, 0));
        assertFalse(Bitmap.has(5, 1));
        assertTrue(Bitmap.has(1 << 255, 255));
        assertFalse(Bitmap.has(type(uint256).max, 256));
    }

    function test_Count_WhenSomeBitsAreSet() public pure {
        assertEq(Bitmap.count(0), 0);
        assertEq(Bitmap.count(1 << 255 | 6), 3);
        assertEq(Bitmap.count(type(uint256).max), 256);
    }

    function testFuzz_TheCountIsTheNumberOfBitsItHas(uint256 bitmap) public pure {
        uint256 bits = 0;
        for (uint256 i = 0; i < 256; ++i) {
            if (Bitmap.has(bitmap, i)) ++bits;
        }
        assertEq(Bitmap.count(bitmap), bits);
    }
}
