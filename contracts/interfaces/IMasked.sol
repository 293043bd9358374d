// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title What is wrong with the evidence of a dispute about masked updates
/// @notice {Masked} reverts with these, and with the errors of {IDisputes} that say the same of plain updates.
interface IMasked {
    /// @notice `Result.included` has a bit for which there is no counted update.
    /// @param updates The number of counted updates.
    error PhantomUpdate(uint256 updates);
    /// @notice The index of an included update is not below the number of commits, or another included update has
    /// it too.
    /// @param update The update's bit in `Result.included`.
    error InvalidIndex(uint256 update, uint256 index);
    /// @notice The opened seeds are not as many as the included updates and the commits ask for.
    error WrongSeedsLength(uint256 given, uint256 expected);
    /// @notice The opened seeds are not those that the result commits to.
    error SeedsMismatch();
    error NoSuchSeed(uint256 number);
    /// @notice The hashes of seeds, the hash of the body and the root of the values are not those of the update.
    /// @param update The update's bit in `Result.included`.
    error InvalidSeal(uint256 update);
}
