// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The curve of the keys of a private federation: y^2 = x^3 + 7 modulo a prime
library Secp256k1 {
    uint256 private constant PRIME = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F;

    /// @dev The precompiled contract for modular exponentiation (EIP-198).
    address private constant MODEXP = address(5);

    /// @notice Whether a point of the curve has this x.
    /// @dev By Euler's criterion: a number other than zero is a square if its power to (p - 1) / 2 is 1. No point has
    /// the y zero. `ecrecover` would cost twice as much, and refuses an x from the curve's order on.
    function hasPoint(uint256 x) internal view returns (bool) {
        if (x >= PRIME) return false;
        uint256 square = addmod(mulmod(mulmod(x, x, PRIME), x, PRIME), 7, PRIME);
        (bool success, bytes memory power) =
            MODEXP.staticcall(abi.encode(32, 32, 32, square, (PRIME - 1) / 2, PRIME));
        return success && abi.decode(power, (uint256)) == 1;
    }
}
