// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../interfaces/IDisputes.sol";
import {CountedUpdate} from "../interfaces/IFederation.sol";
import {IPrivateFederation, PrivateResult} from "../interfaces/IPrivateFederation.sol";
import {Stored} from "../Stored.sol";
import {Masked, MaskedClaim} from "./Masked.sol";
import {Shared} from "./Shared.sol";
import {TypedData} from "./TypedData.sol";

/// @title Challenges in a private federation
/// @notice A linked library, called with `delegatecall`. The arithmetic is in {Masked}.
library MaskedDisputes {
    /// @dev Challenges of seeds are registered from this coordinate on. No model has so many.
    uint256 private constant SEED_COORDINATES = 1 << 255;

    /// @notice Proves a signed result wrong, by {IPrivateFederation-challenge} or {IPrivateFederation-challengeSeed}.
    /// @param call The call data. The federation has decoded it, as far as to check that it is well-formed: to encode
    /// it again for two library functions would take 1 KB of its code.
    /// @return round The round of the result.
    /// @return digest The result to convict.
    function prove(Stored storage state, address encodedParams, bytes calldata call)
        external
        returns (uint64 round, bytes32 digest)
    {
        // The digest is computed twice, because while a proof is read there is no room for it on the stack.
        if (bytes4(call) == IPrivateFederation.challengeSeed.selector) {
            _proveSeed(state, call);
            digest = _digestOf(call);
            emit IPrivateFederation.SeedProvenWrong(digest, uint256(_word(call, 10)));
        } else {
            (int256 expected, int256 claimed) = _proveCoordinate(state, encodedParams, call);
            digest = _digestOf(call);
            emit IDisputes.ChallengeProven(digest, uint256(_word(call, 9)), expected, claimed);
        }
        round = _result(call).result.round;
    }

    function _proveCoordinate(Stored storage state, address encodedParams, bytes calldata call)
        private
        view
        returns (int256 expected, int256 claimed)
    {
        uint256 coordinate = uint256(_word(call, 9));
        MaskedClaim memory claim = _requireEvidence(state, coordinate, _word(call, 12), call);
        (expected, claimed) = Masked.recompute(
            encodedParams, claim, _updates(call), coordinate, _bytes(call, 10), _bytes(call, 11)
        );
        if (expected == claimed) revert IDisputes.NotFraud();
    }

    function _proveSeed(Stored storage state, bytes calldata call) private view {
        uint256 number = uint256(_word(call, 10));
        MaskedClaim memory claim = _requireEvidence(state, SEED_COORDINATES | number, _word(call, 14), call);
        bool wrong = Masked.checkSeed(
            claim, _updates(call), _bytes(call, 9), number, _bytes(call, 11), _word(call, 12), _word(call, 13)
        );
        if (!wrong) revert IDisputes.NotFraud();
    }

    /// @dev Requires what every challenge needs, and returns what it is about.
    function _requireEvidence(Stored storage state, uint256 coordinate, bytes32 salt, bytes calldata call)
        private
        view
        returns (MaskedClaim memory)
    {
        PrivateResult calldata signed = _result(call);
        uint64 round = signed.result.round;
        Shared.requireChallengeable(state, round, _digestOf(call), coordinate, salt);
        Shared.requireUpdates(_updates(call), signed.result.updatesHash);
        return MaskedClaim(
            signed.result.baseRoot,
            signed.result.included,
            signed.result.globalRoot,
            signed.seedsHash,
            state.rounds[round].commits
        );
    }

    function _digestOf(bytes calldata call) private view returns (bytes32) {
        return TypedData.digestOf(TypedData.hashPrivateResult(_result(call)));
    }

    // ------------------------------------------------------------------ arguments

    /// @dev The result is the first argument, of eight words.
    function _result(bytes calldata call) private pure returns (PrivateResult calldata signed) {
        assembly ("memory-safe") {
            signed := add(call.offset, 4)
        }
    }

    /// @dev An argument of a call, by its position in words.
    function _word(bytes calldata call, uint256 position) private pure returns (bytes32) {
        return bytes32(call[4 + 32 * position:]);
    }

    /// @dev An argument of type `bytes`, by the position of its offset in words.
    function _bytes(bytes calldata call, uint256 position) private pure returns (bytes calldata) {
        uint256 start = 4 + uint256(_word(call, position));
        uint256 length = uint256(bytes32(call[start:]));
        return call[start + 32:][:length];
    }

    /// @dev The updates are the first argument after the result, of two words each.
    function _updates(bytes calldata call) private pure returns (CountedUpdate[] calldata updates) {
        uint256 start = 4 + uint256(_word(call, 8));
        uint256 length = uint256(bytes32(call[start:]));
        bytes calldata words = call[start + 32:][:64 * length];
        assembly ("memory-safe") {
            updates.offset := words.offset
            updates.length := length
        }
    }
}
