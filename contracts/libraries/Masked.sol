// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../interfaces/IDisputes.sol";
import {CountedUpdate, Params} from "../interfaces/IFederation.sol";
import {IMasked} from "../interfaces/IMasked.sol";
import {PrivateParams} from "../interfaces/IPrivateFederation.sol";
import {Bitmap} from "./Bitmap.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {ModelRule} from "./ModelRule.sol";
import {StateProofs} from "./StateProofs.sol";

/// @dev The fields of a private federation's result that a dispute needs.
/// @param included Bit i stands for the counted update at place i.
/// @param seedsHash Of all opened seeds, packed.
/// @param commits The number of commits of the round, from the round's record. At most 255.
struct MaskedClaim {
    bytes32 baseRoot;
    uint256 included;
    bytes32 globalRoot;
    bytes32 seedsHash;
    uint256 commits;
}

/// @dev Who is in a result.
/// @param count m, the number of included updates.
/// @param weight N, the sum of their weights.
/// @param absent The commits that are not included, as a bitmap of their indices.
struct Roll {
    uint256 count;
    uint256 weight;
    uint256 absent;
}

/// @title Disputes about masked updates: recomputation of one coordinate, and the check of one opened seed
/// @notice A party sends `y = x + masks` in Z_2^32, where x is its weighted update. The masks between two included
/// parties cancel in the sum. Every other mask comes from a seed that was opened, and whose hash is in the seal of
/// the included update. So a wrong model is proven at one coordinate, and a wrong seed by its hash.
/// See docs/protocol.md, sections 12.4 and 12.7.
/// @dev Used by {MaskedDisputes}. Three counts, all from 0: an update's place is its position among the counted updates;
/// the index of its commit orders the parties of a pair, and labels the seeds; a seed's number is its position
/// among the opened seeds. These are, for each included update by place, its own seed (whose label is its index),
/// then its seeds with every absent commit, by the index of that commit (which is the label).
library Masked {
    /// @dev Values in a leaf of an update, little-endian u32. With leaves of 256 values, a challenge of many updates
    /// would not fit a transaction (128 KiB).
    uint256 private constant LEAF_VALUES = 64;
    uint256 private constant LEAF_BYTES = 256;
    /// @dev Levels above a leaf, more than above a chunk: the leaf is a quarter of a chunk.
    uint256 private constant LEAF_LEVELS = 2;
    uint256 private constant SEED_BYTES = 32;

    // ------------------------------------------------------------------ a wrong coordinate

    /// @notice Computes one coordinate of the model from masked updates and opened seeds, and reads the value that
    /// was signed.
    /// @param encodedParams The contract whose code is the encoded {Params}, followed by the {PrivateParams}.
    /// @param updates All counted updates. The caller has checked them against the hash that was signed.
    /// @param seeds The opened seeds, packed.
    /// @param proofs For every included update by place, the leaf with the coordinate and its `depth + 3` siblings,
    /// of which the last is the hash of the seal; nothing where the coordinate is padding. Then what
    /// {StateProofs-compare} reads. All packed.
    /// @return expected The value that follows from them at the coordinate.
    /// @return claimed The value of the signed model at the coordinate.
    function recompute(
        address encodedParams,
        MaskedClaim memory claim,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds,
        bytes calldata proofs
    ) internal view returns (int256 expected, int256 claimed) {
        (Params memory p, PrivateParams memory q) = abi.decode(encodedParams.code, (Params, PrivateParams));
        int256 step = _stepAt(p, q, claim, updates, coordinate, seeds, proofs);
        return _compare(p, claim, step, coordinate, proofs);
    }

    /// @dev A function of its own, because without the IR the stack of {recompute} has no room for it.
    function _compare(
        Params memory p,
        MaskedClaim memory claim,
        int256 step,
        uint256 coordinate,
        bytes calldata proofs
    ) private pure returns (int256 expected, int256 claimed) {
        return StateProofs.compare(p, step, coordinate, claim.baseRoot, claim.globalRoot, proofs);
    }

    /// @param coordinate Of the state.
    function _stepAt(
        Params memory p,
        PrivateParams memory q,
        MaskedClaim memory claim,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds,
        bytes calldata proofs
    ) private pure returns (int256) {
        Roll memory roll = rollOf(claim, updates);
        _requireSeeds(claim, roll, seeds);
        bool padding = StateProofs.stepCoordinate(p, coordinate) >= q.parameters;
        _requireProofsLength(p, padding ? 0 : roll.count, coordinate, proofs.length);
        uint256 sum = 0;
        if (!padding) {
            coordinate = StateProofs.stepCoordinate(p, coordinate);
            // In Z_2^256, of which Z_2^32 is the lowest 32 bits.
            unchecked {
                sum = sumOfValues(p.depth, claim.included, updates, coordinate, proofs)
                    - sumOfMasks(claim.included, roll.absent, updates, coordinate, seeds);
            }
        }
        return stepOf(sum, roll.weight, q.stepLimit);
    }

    /// @dev One proof for each included update, unless the coordinate is padding, and those of the states.
    function _requireProofsLength(Params memory p, uint256 count, uint256 coordinate, uint256 given)
        private
        pure
    {
        uint256 length = count * _proofLength(p.depth) + StateProofs.proofsLength(p, coordinate);
        if (given != length) revert IDisputes.WrongProofsLength(given, length);
    }

    /// @notice The sum of the values of the included updates at a coordinate, in the lowest 32 bits.
    /// @param proofs Begins with a proof for each included update.
    function sumOfValues(
        uint256 depth,
        uint256 included,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs
    ) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(included, i)) {
                (bytes32 root, uint256 value) = openMasked(proofs, coordinate, depth);
                if (root != updates[i].root) revert IDisputes.InvalidUpdateProof(i);
                // At most 2^8 values of 32 bits.
                unchecked {
                    sum += value;
                }
                proofs = proofs[_proofLength(depth):];
            }
        }
    }

    /// @notice The value at a coordinate of a masked update, and the root of the update that has it there.
    /// @param proof Begins with the leaf with the coordinate and its siblings.
    function openMasked(bytes calldata proof, uint256 coordinate, uint256 depth)
        internal
        pure
        returns (bytes32 root, uint256 value)
    {
        bytes calldata leaf = proof[:LEAF_BYTES];
        uint256 levels = depth + LEAF_LEVELS;
        proof = proof[LEAF_BYTES:];
        root = ChunkTree.rootOf(keccak256(leaf), coordinate / LEAF_VALUES, levels, proof[:32 * levels]);
        root = _hash(root, bytes32(proof[32 * levels:]));
        value = uint32(int32(ChunkTree.int32At(leaf, coordinate % LEAF_VALUES)));
    }

    /// @notice The sum of the masks that do not cancel in the sum of the included updates at a coordinate, in the
    /// lowest 32 bits.
    /// @param absent The commits that are not included, as a bitmap of their indices.
    /// @param seeds All opened seeds, packed.
    function sumOfMasks(
        uint256 included,
        uint256 absent,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds
    ) internal pure returns (uint256 sum) {
        uint256 length = SEED_BYTES * (1 + Bitmap.count(absent));
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(included, i)) {
                uint256 lower = Bitmap.count(absent & ((1 << _indexOf(updates[i])) - 1));
                uint256 split = SEED_BYTES * (1 + lower);
                // In Z_2^256. An update adds its own mask. Of a pair, the lower index adds the mask, and the higher
                // one subtracts it.
                unchecked {
                    sum += masksOf(seeds[:SEED_BYTES], coordinate);
                    sum -= masksOf(seeds[SEED_BYTES:split], coordinate);
                    sum += masksOf(seeds[split:length], coordinate);
                }
                seeds = seeds[length:];
            }
        }
    }

    /// @notice The sum of the masks that these seeds give at a coordinate, in the lowest 32 bits. A mask is the
    /// big-endian 32-bit number `coordinate mod 8` of `keccak256(seed || uint256(coordinate div 8))`.
    /// @param seeds Whole seeds, packed.
    /// @dev The only loop that runs a thousand times in a challenge, so it costs as little as it can.
    function masksOf(bytes calldata seeds, uint256 coordinate) internal pure returns (uint256 sum) {
        uint256 bitsBelow = 224 - 32 * (coordinate % 8);
        assembly ("memory-safe") {
            mstore(0x20, div(coordinate, 8))
            let end := add(seeds.offset, seeds.length)
            for { let at := seeds.offset } lt(at, end) { at := add(at, 0x20) } {
                mstore(0x00, calldataload(at))
                sum := add(sum, shr(bitsBelow, keccak256(0x00, 0x40)))
            }
        }
    }

    /// @notice `clip(floor((2S + N) / 2N), ±stepLimit)`: the weighted mean of the updates, rounded to the nearest,
    /// halves up, and limited.
    /// @param sum S, in the lowest 32 bits.
    /// @param weight N, at least 1.
    function stepOf(uint256 sum, uint256 weight, uint256 stepLimit) internal pure returns (int256 step) {
        step = ModelRule.roundedMean(int32(uint32(sum)), weight);
        int256 limit = int256(stepLimit);
        if (step > limit) return limit;
        if (step < -limit) return -limit;
    }

    // ------------------------------------------------------------------ a wrong seed

    /// @notice Checks one opened seed against the seal of the included update that it is of.
    /// @param number The position of the seed among the opened seeds.
    /// @param hashes The hashes of the seeds of all labels, from the update's seal, packed.
    /// @param bodyHash The hash of the rest of the seal.
    /// @param valuesRoot The root of the update's values.
    /// @return wrong Whether the seal has another hash for this seed, or not one hash for each commit.
    function checkSeed(
        MaskedClaim memory claim,
        CountedUpdate[] calldata updates,
        bytes calldata seeds,
        uint256 number,
        bytes calldata hashes,
        bytes32 bodyHash,
        bytes32 valuesRoot
    ) internal pure returns (bool wrong) {
        bytes32 root = _hash(valuesRoot, _hash(keccak256(hashes), bodyHash));
        (uint256 place, uint256 label) = _openSeed(claim, updates, seeds, number);
        if (root != updates[place].root) revert IMasked.InvalidSeal(place);
        if (hashes.length != SEED_BYTES * claim.commits) return true;
        bytes32 hash = keccak256(seeds[SEED_BYTES * number:][:SEED_BYTES]);
        return hash != bytes32(hashes[SEED_BYTES * label:]);
    }

    function _openSeed(
        MaskedClaim memory claim,
        CountedUpdate[] calldata updates,
        bytes calldata seeds,
        uint256 number
    ) private pure returns (uint256 place, uint256 label) {
        Roll memory roll = rollOf(claim, updates);
        _requireSeeds(claim, roll, seeds);
        if (number >= seeds.length / SEED_BYTES) revert IMasked.NoSuchSeed(number);
        return labelOf(number, claim.included, roll.absent, updates);
    }

    // ------------------------------------------------------------------ who is in a result

    /// @notice The length of all opened seeds of a result.
    /// @param count The number of included updates, at most `commits`.
    function seedsLength(uint256 count, uint256 commits) internal pure returns (uint256) {
        return SEED_BYTES * count * (1 + commits - count);
    }

    /// @notice Reads the included updates: their number, their weights, and who is absent.
    function rollOf(MaskedClaim memory claim, CountedUpdate[] calldata updates)
        internal
        pure
        returns (Roll memory roll)
    {
        if (claim.included >> updates.length != 0) revert IMasked.PhantomUpdate(updates.length);
        roll.absent = (1 << claim.commits) - 1;
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(claim.included, i)) {
                uint256 index = _indexOf(updates[i]);
                if (!Bitmap.has(roll.absent, index)) revert IMasked.InvalidIndex(i, index);
                roll.absent ^= 1 << index;
                roll.weight += uint8(updates[i].partyAndWeight);
                ++roll.count;
            }
        }
    }

    /// @notice The update that a seed is of, and its label in that update's seal.
    /// @param number The position of the seed among the opened seeds: below their number.
    /// @return place The update's bit in `included`.
    function labelOf(uint256 number, uint256 included, uint256 absent, CountedUpdate[] calldata updates)
        internal
        pure
        returns (uint256 place, uint256 label)
    {
        uint256 perUpdate = 1 + Bitmap.count(absent);
        place = _nthOf(included, number / perUpdate);
        uint256 k = number % perUpdate;
        label = k == 0 ? _indexOf(updates[place]) : _nthOf(absent, k - 1);
    }

    function _requireSeeds(MaskedClaim memory claim, Roll memory roll, bytes calldata seeds) private pure {
        uint256 length = seedsLength(roll.count, claim.commits);
        if (seeds.length != length) revert IMasked.WrongSeedsLength(seeds.length, length);
        if (keccak256(seeds) != claim.seedsHash) revert IMasked.SeedsMismatch();
    }

    /// @dev The index of an update's commit, from the counted word: `party << 96 | index << 8 | weight`.
    function _indexOf(CountedUpdate calldata update) private pure returns (uint256) {
        return uint8(update.partyAndWeight >> 8);
    }

    /// @dev The position of the n-th bit that is set, from 0; there are more than n.
    function _nthOf(uint256 bitmap, uint256 n) private pure returns (uint256) {
        for (uint256 k = 0; k < n; ++k) {
            bitmap &= bitmap - 1;
        }
        // The bits below the lowest that is left.
        return Bitmap.count(~bitmap & (bitmap - 1));
    }

    /// @dev The length of the leaf of an update with its path.
    function _proofLength(uint256 depth) private pure returns (uint256) {
        return LEAF_BYTES + 32 * (depth + LEAF_LEVELS + 1);
    }

    /// @dev Hashes in the scratch space, because `abi.encode` would allocate memory each time.
    function _hash(bytes32 left, bytes32 right) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            mstore(0x00, left)
            mstore(0x20, right)
            node := keccak256(0x00, 0x40)
        }
    }
}
