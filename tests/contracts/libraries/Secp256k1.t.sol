// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Secp256k1} from "../../../contracts/libraries/Secp256k1.sol";
import {GoldenPrivacy, PublicKeyRow} from "../support/GoldenPrivacy.sol";

/// @notice See Secp256k1.tree.
contract Secp256k1Test is GoldenPrivacy {
    uint256 private constant PRIME = 2 ** 256 - 2 ** 32 - 977;
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function test_HasPoint_WhenTheGoldenKeysAreGiven() public view {
        PublicKeyRow[] memory rows = _publicKeyRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(Secp256k1.hasPoint(uint256(rows[i].x)), rows[i].onCurve);
        }
        assertNotEq(rows.length, 0);
    }

    function test_HasPoint_WhenXIsThePrimeOrAbove() public view {
        // 1 is the x of a point, and so would be PRIME + 1, but a key has one form.
        assertTrue(Secp256k1.hasPoint(1));
        assertFalse(Secp256k1.hasPoint(PRIME + 1));
        assertFalse(Secp256k1.hasPoint(PRIME));
        assertFalse(Secp256k1.hasPoint(type(uint256).max));
    }

    function test_HasPoint_WhenXIsOfAKnownPoint() public {
        assertTrue(Secp256k1.hasPoint(vm.createWallet(uint256(1)).publicKeyX));
        assertTrue(Secp256k1.hasPoint(vm.createWallet(ORDER - 1).publicKeyX));
    }

    /// @dev Every public key is on the curve.
    function testFuzz_public_keys_are_on_the_curve(uint256 secret) public {
        assertTrue(Secp256k1.hasPoint(vm.createWallet(bound(secret, 1, ORDER - 1)).publicKeyX));
    }

    /// @dev `ecrecover` finds a signer for a number r below the order if, and only if, r is the x of a point.
    function testFuzz_it_agrees_with_ecrecover(uint256 x) public view {
        x = bound(x, 1, ORDER - 1);
        assertEq(
            Secp256k1.hasPoint(x), ecrecover(bytes32(uint256(1)), 27, bytes32(x), bytes32(x)) != address(0)
        );
    }
}
