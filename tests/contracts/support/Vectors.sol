// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Params, Rule} from "../../../contracts/interfaces/IFederation.sol";

/// @notice A vector of 256 * 2^depth values, of which all but a few chunks are zero.
/// @param width Bytes of a value: 2 in an update, 4 in a model.
/// @param places The indices of the chunks that may have other values.
/// @param zeros The nodes above nothing but zeros, by their level.
struct Vector {
    uint256 width;
    uint256 depth;
    uint256[] places;
    bytes[] chunks;
    bytes32[] zeros;
}

/// @notice Vectors, their trees and the aggregation rules once more, from docs/protocol.md (sections 3 and 4) and
/// without the contracts' libraries, which they check.
library Vectors {
    uint256 internal constant CHUNK = 256;

    // ------------------------------------------------------------------ values

    function zero(uint256 width, uint256 depth) internal pure returns (Vector memory v) {
        (v.width, v.depth) = (width, depth);
        v.zeros = new bytes32[](depth + 1);
        v.zeros[0] = keccak256(new bytes(CHUNK * width));
        for (uint256 level = 1; level <= depth; ++level) {
            v.zeros[level] = keccak256(abi.encode(v.zeros[level - 1], v.zeros[level - 1]));
        }
    }

    function copy(Vector memory v) internal pure returns (Vector memory) {
        return abi.decode(abi.encode(v), (Vector));
    }

    /// @notice Adds a chunk of random values, all of them possible.
    function scatter(Vector memory v, uint256 place, bytes32 seed) internal pure {
        bytes memory chunk = _chunk(v, place);
        for (uint256 offset = 0; offset < chunk.length; offset += 32) {
            bytes32 word = keccak256(abi.encode(seed, offset));
            assembly ("memory-safe") {
                mstore(add(add(chunk, 32), offset), word)
            }
        }
    }

    function set(Vector memory v, uint256 coordinate, int256 value) internal pure {
        bytes memory chunk = _chunk(v, coordinate / CHUNK);
        uint256 offset = coordinate % CHUNK * v.width;
        for (uint256 i = 0; i < v.width; ++i) {
            chunk[offset + i] = bytes1(uint8(uint256(value) >> 8 * i));
        }
    }

    function at(Vector memory v, uint256 coordinate) internal pure returns (int256) {
        for (uint256 i = 0; i < v.places.length; ++i) {
            if (v.places[i] == coordinate / CHUNK) return _at(v.chunks[i], coordinate % CHUNK, v.width);
        }
        return 0;
    }

    // ------------------------------------------------------------------ the tree

    function root(Vector memory v) internal pure returns (bytes32) {
        return node(v, v.depth, 0);
    }

    function node(Vector memory v, uint256 level, uint256 index) internal pure returns (bytes32) {
        for (uint256 i = 0; i < v.places.length; ++i) {
            if (v.places[i] >> level != index) continue;
            if (level == 0) return keccak256(v.chunks[i]);
            return keccak256(abi.encode(node(v, level - 1, 2 * index), node(v, level - 1, 2 * index + 1)));
        }
        return v.zeros[level];
    }

    /// @notice The siblings from a node up to the root.
    function path(Vector memory v, uint256 level, uint256 index) internal pure returns (bytes memory packed) {
        for (; level < v.depth; ++level) {
            packed = abi.encodePacked(packed, node(v, level, index ^ 1));
            index /= 2;
        }
    }

    /// @notice What answers a demand: the nodes at most six levels below, or the chunk.
    function content(Vector memory v, uint256 level, uint256 index)
        internal
        pure
        returns (bytes memory packed)
    {
        if (level == 0) return chunkAt(v, index);
        uint256 levels = level < 6 ? level : 6;
        bytes32[] memory nodes = new bytes32[](1 << levels);
        for (uint256 i = 0; i < nodes.length; ++i) {
            nodes[i] = node(v, level - levels, (index << levels) + i);
        }
        return abi.encodePacked(nodes);
    }

    /// @notice The chunk with a coordinate and its path, as a challenge has them.
    function proof(Vector memory v, uint256 coordinate) internal pure returns (bytes memory) {
        uint256 place = coordinate / CHUNK;
        return abi.encodePacked(chunkAt(v, place), path(v, 0, place));
    }

    function chunkAt(Vector memory v, uint256 place) internal pure returns (bytes memory) {
        for (uint256 i = 0; i < v.places.length; ++i) {
            if (v.places[i] == place) return v.chunks[i];
        }
        return new bytes(CHUNK * v.width);
    }

    // ------------------------------------------------------------------ the rules

    /// @notice The model that follows from a base and updates.
    function aggregate(Params memory p, Vector memory base, Vector[] memory updates, uint256[] memory weights)
        internal
        pure
        returns (Vector memory next)
    {
        if (p.chunkNormLimit != 0) {
            // Once for all coordinates.
            Vector[] memory within = new Vector[](updates.length);
            for (uint256 k = 0; k < updates.length; ++k) {
                within[k] = clipped(updates[k], p.chunkNormLimit);
            }
            Params memory q = abi.decode(abi.encode(p), (Params));
            q.chunkNormLimit = 0;
            return aggregate(q, base, within, weights);
        }
        next = copy(base);
        for (uint256 k = 0; k < updates.length; ++k) {
            for (uint256 i = 0; i < updates[k].places.length; ++i) {
                _chunk(next, updates[k].places[i]);
            }
        }
        if (p.serverMomentumBps != 0) _pair(next, p.depth);
        // Where everything is zero, so is the step.
        for (uint256 i = 0; i < next.places.length; ++i) {
            for (uint256 j = 0; j < CHUNK; ++j) {
                uint256 coordinate = next.places[i] * CHUNK + j;
                set(next, coordinate, nextAt(p, base, updates, weights, coordinate));
            }
        }
    }

    /// @notice One coordinate of the model that follows.
    function nextAt(
        Params memory p,
        Vector memory base,
        Vector[] memory updates,
        uint256[] memory weights,
        uint256 coordinate
    ) internal pure returns (int256 state) {
        int256[] memory values = new int256[](updates.length);
        uint256 place = placeOf(p.serverMomentumBps, p.depth, coordinate);
        for (uint256 k = 0; k < updates.length; ++k) {
            values[k] = at(updates[k], place);
            if (p.chunkNormLimit != 0) {
                uint256 squares = squaresOf(chunkAt(updates[k], place / CHUNK));
                values[k] = scaledDown(values[k], squares, p.chunkNormLimit);
            }
        }
        int256 move = step(p, values, weights) * int256(2 ** (24 - p.updateFractionBits));
        return moved(base, p.depth, p.serverMomentumBps, p.serverLearningRateBps, coordinate, move);
    }

    /// @notice An update after clipping: no chunk of it has a norm above the limit.
    function clipped(Vector memory v, uint256 limit) internal pure returns (Vector memory within) {
        within = copy(v);
        for (uint256 i = 0; i < v.places.length; ++i) {
            uint256 squares = squaresOf(v.chunks[i]);
            for (uint256 j = 0; j < CHUNK; ++j) {
                set(within, v.places[i] * CHUNK + j, scaledDown(_at(v.chunks[i], j, 2), squares, limit));
            }
        }
    }

    function squaresOf(bytes memory chunk) internal pure returns (uint256 squares) {
        for (uint256 j = 0; j < CHUNK; ++j) {
            squares += uint256(_at(chunk, j, 2) ** 2);
        }
    }

    /// @dev By the least number whose square is not below the squares, found bit by bit.
    function scaledDown(int256 value, uint256 squares, uint256 limit) internal pure returns (int256) {
        uint256 below = 0;
        for (uint256 bit = 2 ** 20; bit != 0; bit /= 2) {
            if ((below + bit) ** 2 < squares) below += bit;
        }
        if (below + 1 <= limit) return value;
        uint256 size = uint256(value < 0 ? -value : value) * limit / (below + 1);
        return value < 0 ? -int256(size) : int256(size);
    }

    /// @notice What a scaled step makes of a coordinate of the base.
    /// @param depth The depth of the trees of updates.
    function moved(
        Vector memory base,
        uint256 depth,
        uint256 momentumBps,
        uint256 rateBps,
        uint256 coordinate,
        int256 move
    ) internal pure returns (int256) {
        uint256 place = placeOf(momentumBps, depth, coordinate);
        if (momentumBps != 0) {
            move = _clamp(_share(at(base, place + (CHUNK << depth)), momentumBps) + move);
        }
        if (place != coordinate) return move;
        return _clamp(at(base, place) + _share(move, rateBps));
    }

    /// @notice The coordinate of updates that a coordinate of a state depends on.
    function placeOf(uint256 momentumBps, uint256 depth, uint256 coordinate) internal pure returns (uint256) {
        uint256 half = CHUNK << depth;
        return momentumBps != 0 && coordinate >= half ? coordinate - half : coordinate;
    }

    /// @notice The depth of the tree of a model: with momentum, there is one level more.
    function stateDepth(Params memory p) internal pure returns (uint8) {
        return p.serverMomentumBps == 0 ? p.depth : p.depth + 1;
    }

    /// @dev So many of 10,000 parts, rounded to the nearest, halves upwards.
    function _share(int256 value, uint256 parts) private pure returns (int256) {
        // Above zero, `/` rounds down.
        int256 lift = 2 ** 80;
        return (value * int256(parts) + 5_000 + 10_000 * lift) / 10_000 - lift;
    }

    function _clamp(int256 value) private pure returns (int256) {
        if (value > type(int32).max) return type(int32).max;
        return value < type(int32).min ? type(int32).min : value;
    }

    /// @dev Adds the chunk of the momentum for each of the model, and the other way round.
    function _pair(Vector memory v, uint256 depth) private pure {
        uint256 count = v.places.length;
        for (uint256 i = 0; i < count; ++i) {
            _chunk(v, v.places[i] ^ (1 << depth));
        }
    }

    /// @dev By ranks, equal values being ranked as they come: the median and the trimmed mean sort nothing here.
    function step(Params memory p, int256[] memory values, uint256[] memory weights)
        internal
        pure
        returns (int256)
    {
        uint256 count = values.length;
        (uint256 from, uint256 to) = _ranks(p, count);
        int256 sum = 0;
        int256 total = 0;
        for (uint256 k = 0; k < count; ++k) {
            uint256 rank = p.rule == Rule.WeightedMean ? k : _rank(values, k);
            if (rank < from || rank >= to) continue;
            int256 weight = p.rule == Rule.WeightedMean ? int256(weights[k]) : int256(1);
            sum += weight * values[k];
            total += weight;
        }
        // Above zero, `/` rounds down.
        int256 lift = 2 ** 20;
        return (2 * sum + total + 2 * total * lift) / (2 * total) - lift;
    }

    /// @dev The ranks that a rule takes the mean of; the last one is left out.
    function _ranks(Params memory p, uint256 count) private pure returns (uint256 from, uint256 to) {
        if (p.rule == Rule.WeightedMean) return (0, count);
        from = (count - 1) / 2;
        if (p.rule == Rule.Median) return (from, from + 1);
        require(p.rule == Rule.TrimmedMean, "a rule without its ranks");
        from = count * p.trimBps / 10_000;
        return (from, count - from);
    }

    function _rank(int256[] memory values, uint256 k) private pure returns (uint256 rank) {
        for (uint256 j = 0; j < values.length; ++j) {
            if (values[j] < values[k] || (values[j] == values[k] && j < k)) ++rank;
        }
    }

    // ------------------------------------------------------------------ chunks

    function _at(bytes memory chunk, uint256 position, uint256 width) private pure returns (int256) {
        uint256 word = 0;
        for (uint256 i = 0; i < width; ++i) {
            word |= uint256(uint8(chunk[position * width + i])) << 8 * i;
        }
        return width == 2 ? int256(int16(uint16(word))) : int256(int32(uint32(word)));
    }

    /// @dev A chunk to write to; a new one, where all is zero so far.
    function _chunk(Vector memory v, uint256 place) private pure returns (bytes memory) {
        require(place >> v.depth == 0, "outside of the tree");
        uint256 count = v.places.length;
        for (uint256 i = 0; i < count; ++i) {
            if (v.places[i] == place) return v.chunks[i];
        }
        uint256[] memory places = new uint256[](count + 1);
        bytes[] memory chunks = new bytes[](count + 1);
        for (uint256 i = 0; i < count; ++i) {
            (places[i], chunks[i]) = (v.places[i], v.chunks[i]);
        }
        (places[count], chunks[count]) = (place, new bytes(CHUNK * v.width));
        (v.places, v.chunks) = (places, chunks);
        return chunks[count];
    }
}
