// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate} from "../../../contracts/interfaces/IFederation.sol";
import {Masked, MaskedClaim, Roll} from "../../../contracts/libraries/Masked.sol";

/// @notice For halmos: each check holds for every value of its parameters. See docs/assurance.md.
/// @custom:halmos --panic-error-codes *
contract MaskedSymbolic {
    // ------------------------------------------------------------------ the step

    function check_TheStepIsTheNearestWithinTheLimit_Of1(uint256 sum, uint16 limit) external pure {
        _nearest(sum, 1, limit);
    }

    function check_TheStepIsTheNearestWithinTheLimit_Of256(uint256 sum, uint16 limit) external pure {
        _nearest(sum, 256, limit);
    }

    function check_TheStepIsTheNearestWithinTheLimit_Of16384(uint256 sum, uint16 limit) external pure {
        _nearest(sum, 16_384, limit);
    }

    function _nearest(uint256 sum, int256 weight, uint16 limit_) private pure {
        int256 limit = int256(uint256(limit_));
        int256 rounded = 2 * int256(int32(uint32(sum))) + weight;
        int256 step = Masked.stepOf(sum, uint256(weight), limit_);
        assert(-limit <= step && step <= limit);
        assert(step == limit || rounded < 2 * weight * (step + 1));
        assert(step == -limit || rounded >= 2 * weight * step);
    }

    // ------------------------------------------------------------------ the sum

    /// @dev Two of three commits are included. Whatever their order, their values, seeds and masks, what is left
    /// of the masked values is the sum of what was masked. The solver needs to know all offsets in calldata: one
    /// path for each order and each position in a block.
    function check_TheMasksCancel(
        uint8 i,
        uint8 j,
        uint32[3] calldata x,
        bytes32[3] calldata own,
        bytes32[3] calldata pairs,
        uint8 coordinate
    ) external view {
        for (uint256 a = 0; a < 3; ++a) {
            for (uint256 b = 0; b < 3; ++b) {
                for (uint256 n = 0; n < 9; ++n) {
                    if (a == b || i != a || j != b || coordinate != n) continue;
                    _cancel(a, b, x, own, pairs, n);
                    return;
                }
            }
        }
    }

    function _cancel(
        uint256 i,
        uint256 j,
        uint32[3] calldata x,
        bytes32[3] calldata own,
        bytes32[3] calldata pairs,
        uint256 n
    ) private view {
        CountedUpdate[] memory updates = new CountedUpdate[](2);
        updates[0].partyAndWeight = i << 8;
        updates[1].partyAndWeight = j << 8;
        uint256 k = 3 - i - j;
        bytes memory seeds = abi.encodePacked(own[i], _pair(pairs, i, k), own[j], _pair(pairs, j, k));
        uint256 masks = this.sumOfMasks(3, 1 << k, updates, n, seeds);
        // Modulo 2^32.
        unchecked {
            uint32 masked = _mask(i, x[i], own[i], pairs, n) + _mask(j, x[j], own[j], pairs, n);
            assert(masked - uint32(masks) == x[i] + x[j]);
        }
    }

    function _mask(uint256 i, uint32 x, bytes32 own, bytes32[3] calldata pairs, uint256 n)
        private
        pure
        returns (uint32 y)
    {
        // Modulo 2^32.
        unchecked {
            y = x + _number(own, n);
            for (uint256 j = 0; j < 3; ++j) {
                if (j > i) y += _number(_pair(pairs, i, j), n);
                if (j < i) y -= _number(_pair(pairs, i, j), n);
            }
        }
    }

    /// @dev Of the pairs 01, 02 and 12.
    function _pair(bytes32[3] calldata pairs, uint256 i, uint256 j) private pure returns (bytes32) {
        return pairs[i + j - 1];
    }

    function _number(bytes32 seed, uint256 n) private pure returns (uint32) {
        return uint32(uint256(keccak256(bytes.concat(seed, bytes32(n / 8)))) >> (32 * (7 - n % 8)));
    }

    // ------------------------------------------------------------------ who is in a result

    /// @dev Three updates of at most four commits: they are read if they are there and their indices are distinct
    /// and below the commits, and refused otherwise.
    function check_TheRollIsWhoIsIncluded(
        uint8 included,
        uint8 commits_,
        uint8[3] calldata indices,
        uint8[3] calldata weights
    ) external view {
        for (uint256 commits = 0; commits <= 4; ++commits) {
            if (commits_ != commits) continue;
            MaskedClaim memory claim;
            (claim.included, claim.commits) = (included, commits);
            bool fine = included < 8;
            uint256 present = 0;
            uint256 weight = 0;
            uint256 count = 0;
            for (uint256 k = 0; k < 3; ++k) {
                if (included >> k & 1 == 0) continue;
                if (indices[k] >= commits || present >> indices[k] & 1 == 1) fine = false;
                present |= 1 << indices[k];
                weight += weights[k];
                ++count;
            }
            try this.rollOf(claim, _updates(indices, weights)) returns (Roll memory roll) {
                assert(fine);
                assert(roll.absent == present ^ (2 ** commits - 1));
                assert(roll.weight == weight && roll.count == count);
            } catch {
                assert(!fine);
            }
            return;
        }
    }

    // ------------------------------------------------------------------ the place and the label of a seed

    /// @dev Three updates of five commits, of which the second is not included: a number is that of one place and
    /// one label, in their order, whatever the indices. One path for each pair of them.
    function check_ANumberIsOfOnePlaceAndLabel(uint256 number, uint8 first, uint8 last) external view {
        require(number < Masked.seedsLength(2, 5) / 32);
        for (uint256 i = 0; i < 5; ++i) {
            for (uint256 j = 0; j < 5; ++j) {
                if (i == j || first != i || last != j) continue;
                _locate(number, i, j);
                return;
            }
        }
    }

    function _locate(uint256 number, uint256 i, uint256 j) private view {
        CountedUpdate[] memory updates = new CountedUpdate[](3);
        updates[0].partyAndWeight = i << 8;
        updates[1].partyAndWeight = 255 << 8;
        updates[2].partyAndWeight = j << 8;
        uint256 absent = 31 ^ (1 << i) ^ (1 << j);
        (uint256 place, uint256 label) = this.labelOf(number, 5, absent, updates);
        assert(place == (number < 4 ? 0 : 2));
        if (number % 4 == 0) {
            assert(label == (number < 4 ? i : j));
            return;
        }
        // As many of the absent are below the label as come before it.
        assert(label < 5 && absent >> label & 1 == 1);
        uint256 below = 0;
        for (uint256 l = 0; l < 5; ++l) {
            if (absent >> l & 1 == 1 && l < label) ++below;
        }
        assert(below == number % 4 - 1);
    }

    function _updates(uint8[3] calldata indices, uint8[3] memory weights)
        private
        pure
        returns (CountedUpdate[] memory updates)
    {
        updates = new CountedUpdate[](3);
        for (uint256 k = 0; k < 3; ++k) {
            updates[k].partyAndWeight = uint256(indices[k]) << 8 | weights[k];
        }
    }

    // ------------------------------------------------------------------ the library takes calldata

    function sumOfMasks(
        uint256 included,
        uint256 absent,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds
    ) external pure returns (uint256) {
        return Masked.sumOfMasks(included, absent, updates, coordinate, seeds);
    }

    function rollOf(MaskedClaim calldata claim, CountedUpdate[] calldata updates)
        external
        pure
        returns (Roll memory)
    {
        return Masked.rollOf(claim, updates);
    }

    function labelOf(uint256 number, uint256 included, uint256 absent, CountedUpdate[] calldata updates)
        external
        pure
        returns (uint256, uint256)
    {
        return Masked.labelOf(number, included, absent, updates);
    }
}
