// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Cid, CountedUpdate, Params, Rule} from "../../../contracts/interfaces/IFederation.sol";
import {PrivateParams} from "../../../contracts/interfaces/IPrivateFederation.sol";
import {MaskedClaim} from "../../../contracts/libraries/Masked.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice The rules of a private federation, as far as they concern a coordinate.
struct MaskedRules {
    uint256 depth;
    uint256 parameters;
    uint16 stepLimit;
    uint8 updateFractionBits;
    uint16 momentumBps;
}

/// @notice A round of a private federation, and what is opened of it.
/// @param secret All of the round's randomness.
/// @param commits Their number.
/// @param order The indices of the commits that were revealed, by place.
/// @param present Whether a commit is included, by index.
/// @param weights Of the commits, by index.
/// @param coordinates Where updates are not random.
/// @param steps x, the weighted values at these coordinates, modulo 2^32, by coordinate and index.
/// @param vectors The masked values, by place.
/// @param bodies The hashes of the bodies of the seals, by place.
struct Scene {
    MaskedRules rules;
    bytes32 secret;
    uint256 commits;
    uint256[] order;
    bool[] present;
    uint8[] weights;
    uint256[] coordinates;
    uint32[][] steps;
    Vector[] vectors;
    bytes32[] bodies;
    CountedUpdate[] updates;
    bytes seeds;
    Vector base;
    Vector model;
    MaskedClaim claim;
}

/// @notice Rounds of masked updates, once more from docs/protocol.md (section 12) and without the contracts'
/// libraries: parties that mask what they send, and the model that follows from what they masked.
abstract contract MaskedSceneTest is Test {
    using Vectors for Vector;

    address internal constant ENCODED_PARAMS = address(uint160(uint256(keccak256("encoded params"))));

    // ------------------------------------------------------------------ a round

    /// @param order The indices of the revealed commits, in the order of the reveals.
    /// @param included By place.
    function _scene(
        MaskedRules memory rules,
        bytes32 secret,
        uint256 commits,
        uint256[] memory order,
        uint256 included
    ) internal pure returns (Scene memory s) {
        s.rules = rules;
        (s.secret, s.commits, s.order) = (secret, commits, order);
        s.weights = new uint8[](commits);
        for (uint256 i = 0; i < commits; ++i) {
            s.weights[i] = uint8(1 + uint256(keccak256(abi.encode(secret, "weight", i))) % 255);
        }
        s.vectors = new Vector[](order.length);
        s.bodies = new bytes32[](order.length);
        s.updates = new CountedUpdate[](order.length);
        s.base = Vectors.zero(4, rules.depth + (rules.momentumBps == 0 ? 0 : 1));
        s.claim.commits = commits;
        s.claim.included = included;
        s.present = new bool[](commits);
        for (uint256 place = 0; place < order.length; ++place) {
            s.present[order[place]] = included >> place & 1 == 1;
        }
    }

    /// @dev Plants a value in every update. Call `_seal` when all are planted.
    function _plant(Scene memory s, uint256 coordinate, uint32[] memory values) internal pure {
        uint256 count = s.coordinates.length;
        uint256[] memory coordinates = new uint256[](count + 1);
        uint32[][] memory steps = new uint32[][](count + 1);
        for (uint256 k = 0; k < count; ++k) {
            (coordinates[k], steps[k]) = (s.coordinates[k], s.steps[k]);
        }
        (coordinates[count], steps[count]) = (coordinate, values);
        (s.coordinates, s.steps) = (coordinates, steps);
    }

    /// @dev Random weighted values, as honest parties have them.
    function _plantHonest(Scene memory s, uint256 coordinate) internal pure {
        uint32[] memory values = new uint32[](s.commits);
        for (uint256 i = 0; i < s.commits; ++i) {
            int256 q = int256(uint256(keccak256(abi.encode(s.secret, "q", i, coordinate))) % 65_535) - 32_767;
            values[i] = uint32(int32(q * int256(uint256(s.weights[i]))));
        }
        _plant(s, coordinate, values);
    }

    /// @dev Masks the updates, opens the seeds and computes the model that follows.
    function _seal(Scene memory s) internal pure {
        for (uint256 place = 0; place < s.order.length; ++place) {
            uint256 i = s.order[place];
            s.vectors[place] = _masked(s, i);
            s.bodies[place] = keccak256(abi.encode(s.secret, "body", i));
            s.updates[place] = CountedUpdate(_word(i, s.weights[i]), _root(s, place));
        }
        s.seeds = _opened(s);
        s.claim.seedsHash = keccak256(s.seeds);
        for (uint256 k = 0; k < s.coordinates.length; ++k) {
            s.base.scatter(s.coordinates[k] / 256, keccak256(abi.encode(s.secret, "base")));
            if (s.rules.momentumBps == 0) continue;
            s.base
                .scatter(_momentumOf(s, s.coordinates[k]) / 256, keccak256(abi.encode(s.secret, "momentum")));
        }
        s.claim.baseRoot = s.base.root();
        s.model = s.base.copy();
        for (uint256 k = 0; k < s.coordinates.length; ++k) {
            s.model.set(s.coordinates[k], _next(s, s.coordinates[k]));
            if (s.rules.momentumBps == 0) continue;
            uint256 moving = _momentumOf(s, s.coordinates[k]);
            s.model.set(moving, _next(s, moving));
        }
        s.claim.globalRoot = s.model.root();
    }

    function _word(uint256 index, uint8 weight) internal pure virtual returns (uint256) {
        return uint256(keccak256(abi.encode("party", index))) << 96 | index << 8 | weight;
    }

    // ------------------------------------------------------------------ seeds and masks

    function _pairSeed(Scene memory s, uint256 i, uint256 j) internal pure returns (bytes32) {
        (uint256 low, uint256 high) = i < j ? (i, j) : (j, i);
        return keccak256(abi.encode(s.secret, "pair", low, high));
    }

    /// @dev The seed of update i at label l; the update's own at label i.
    function _seed(Scene memory s, uint256 i, uint256 l) internal pure returns (bytes32) {
        return i == l ? keccak256(abi.encode(s.secret, "self", i)) : _pairSeed(s, i, l);
    }

    /// @dev What is opened: of the included by place, their own seed, then theirs with all who are not included.
    function _opened(Scene memory s) internal pure returns (bytes memory) {
        bytes32[] memory seeds = new bytes32[](s.commits * s.commits);
        uint256 count = 0;
        for (uint256 place = 0; place < s.order.length; ++place) {
            uint256 i = s.order[place];
            if (!s.present[i]) continue;
            seeds[count++] = _seed(s, i, i);
            for (uint256 j = 0; j < s.commits; ++j) {
                if (!s.present[j]) seeds[count++] = _pairSeed(s, i, j);
            }
        }
        assembly ("memory-safe") {
            mstore(seeds, count)
        }
        return abi.encodePacked(seeds);
    }

    /// @dev Number `n mod 8` of the block `n div 8`, byte by byte.
    function _prg(bytes32 seed, uint256 n) internal pure returns (uint32 number) {
        bytes32 block_ = keccak256(abi.encode(seed, n / 8));
        for (uint256 k = 0; k < 4; ++k) {
            number = number * 256 + uint8(block_[n % 8 * 4 + k]);
        }
    }

    // ------------------------------------------------------------------ updates

    function _masked(Scene memory s, uint256 i) internal pure returns (Vector memory v) {
        // Leaves of 64 values of 4 bytes: chunks of 256 values of one byte.
        v = Vectors.zero(1, s.rules.depth + 2);
        for (uint256 k = 0; k < s.coordinates.length; ++k) {
            uint256 n = s.coordinates[k];
            v.scatter(n / 64, keccak256(abi.encode(s.secret, "around", i)));
        }
        for (uint256 k = 0; k < s.coordinates.length; ++k) {
            _write(v, s.coordinates[k], _mask(s, i, s.coordinates[k], s.steps[k][i]));
        }
    }

    /// @dev y: the value x of party i at coordinate n with all its masks.
    function _mask(Scene memory s, uint256 i, uint256 n, uint32 x) private pure returns (uint32 y) {
        // Modulo 2^32.
        unchecked {
            y = x + _prg(_seed(s, i, i), n);
            for (uint256 j = 0; j < s.commits; ++j) {
                if (j > i) y += _prg(_pairSeed(s, i, j), n);
                if (j < i) y -= _prg(_pairSeed(s, i, j), n);
            }
        }
    }

    function _write(Vector memory v, uint256 coordinate, uint32 value) internal pure {
        for (uint256 k = 0; k < 4; ++k) {
            v.set(4 * coordinate + k, int256(uint256(value >> 8 * k & 255)));
        }
    }

    /// @dev The hashes of the seeds of all labels of an update.
    function _hashes(Scene memory s, uint256 place) internal pure returns (bytes memory) {
        bytes32[] memory hashes = new bytes32[](s.commits);
        for (uint256 l = 0; l < s.commits; ++l) {
            hashes[l] = keccak256(abi.encode(_seed(s, s.order[place], l)));
        }
        return abi.encodePacked(hashes);
    }

    function _sealHash(Scene memory s, uint256 place) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(_hashes(s, place)), s.bodies[place]));
    }

    function _root(Scene memory s, uint256 place) internal pure returns (bytes32) {
        return keccak256(abi.encode(s.vectors[place].root(), _sealHash(s, place)));
    }

    function _updateProof(Scene memory s, uint256 place, uint256 coordinate)
        internal
        pure
        returns (bytes memory)
    {
        return bytes.concat(s.vectors[place].proof(4 * coordinate), _sealHash(s, place));
    }

    /// @dev Of the included updates by place, of the base and of the claimed model.
    function _proofs(Scene memory s, uint256 coordinate) internal pure returns (bytes memory packed) {
        packed = bytes.concat(_updateProofs(s, coordinate), s.base.proof(coordinate));
        if (s.rules.momentumBps != 0 && coordinate < _momentumOf(s, 0)) {
            packed = bytes.concat(packed, s.base.proof(_momentumOf(s, coordinate)));
        }
        return bytes.concat(packed, s.model.proof(coordinate));
    }

    /// @param coordinate Of the state.
    function _updateProofs(Scene memory s, uint256 coordinate) internal pure returns (bytes memory packed) {
        coordinate = _placeIn(s, coordinate);
        for (uint256 place = 0; place < s.order.length && coordinate < s.rules.parameters; ++place) {
            if (s.present[s.order[place]]) {
                packed = bytes.concat(packed, _updateProof(s, place, coordinate));
            }
        }
    }

    /// @dev The coordinate of its momentum, for one of the model.
    function _momentumOf(Scene memory s, uint256 coordinate) internal pure returns (uint256) {
        return coordinate + (uint256(256) << s.rules.depth);
    }

    /// @dev The coordinate of updates that a coordinate of the state depends on.
    function _placeIn(Scene memory s, uint256 coordinate) internal pure returns (uint256) {
        return Vectors.placeOf(s.rules.momentumBps, s.rules.depth, coordinate);
    }

    // ------------------------------------------------------------------ the model that follows

    /// @dev From what was masked, not from what was sent.
    function _next(Scene memory s, uint256 coordinate) internal pure returns (int256 state) {
        int256 move =
            _step(s, _placeIn(s, coordinate)) * int256(2 ** (24 - uint256(s.rules.updateFractionBits)));
        return s.base.moved(s.rules.depth, s.rules.momentumBps, 10_000, coordinate, move);
    }

    function _step(Scene memory s, uint256 coordinate) internal pure returns (int256 step) {
        uint32 sum = 0;
        int256 weight = 0;
        for (uint256 i = 0; i < s.commits; ++i) {
            if (!s.present[i]) continue;
            weight += int256(uint256(s.weights[i]));
            for (uint256 k = 0; k < s.coordinates.length && coordinate < s.rules.parameters; ++k) {
                // Modulo 2^32.
                unchecked {
                    if (s.coordinates[k] == coordinate) sum += s.steps[k][i];
                }
            }
        }
        return _clipped(s, int256(int32(sum)), weight);
    }

    function _clipped(Scene memory s, int256 sum, int256 weight) internal pure returns (int256 step) {
        // Above zero, `/` rounds down.
        int256 lift = 2 ** 40;
        step = (2 * sum + weight + 2 * weight * lift) / (2 * weight) - lift;
        int256 limit = int256(uint256(s.rules.stepLimit));
        if (step > limit) step = limit;
        if (step < -limit) step = -limit;
    }

    // ------------------------------------------------------------------ the contract's side

    function _etchParams(MaskedRules memory rules) internal {
        Params memory p = Params({
            minPartyStake: 1,
            minAggregatorStake: 1,
            maxParties: 88,
            participants: 88,
            minUpdates: 3,
            maxUpdates: 88,
            openAdmission: false,
            commitPeriod: 1 hours,
            revealPeriod: 2 hours,
            attestPeriod: 3 hours,
            challengePeriod: 1 days,
            unbondPeriod: 2 days,
            answerPeriod: 1 hours,
            rule: Rule.WeightedMean,
            trimBps: 0,
            serverLearningRateBps: 10_000,
            serverMomentumBps: rules.momentumBps,
            chunkNormLimit: 0,
            updateFractionBits: rules.updateFractionBits,
            depth: uint8(rules.depth),
            reward: 1 ether,
            aggregatorShareBps: 1_000,
            unrevealedSlashBps: 1_000,
            fraudSlashBps: 5_000,
            demandBond: 1 ether,
            genesisRoot: "genesis",
            genesisCid: Cid("genesis", 0x55),
            manifestDigest: "manifest"
        });
        vm.etch(ENCODED_PARAMS, abi.encode(p, _privateParams(rules)));
    }

    function _privateParams(MaskedRules memory rules) private pure returns (PrivateParams memory) {
        return PrivateParams({
            parameters: uint32(rules.parameters),
            stepLimit: rules.stepLimit,
            claimPeriod: 1 hours,
            secrecy: 2,
            relock: false
        });
    }
}
