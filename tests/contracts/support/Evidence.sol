// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./FederationTest.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice A result and everything behind it.
/// @param updates All counted reveals.
/// @param vectors Theirs.
/// @param model What the result claims.
struct Evidence {
    Result result;
    CountedUpdate[] updates;
    Vector[] vectors;
    Vector base;
    Vector model;
}

/// @notice What proves a result right or wrong.
abstract contract EvidenceTest is FederationTest {
    using Vectors for Vector;

    IPlainFederation internal disputes;
    Params internal rules;
    /// @dev Encoded vectors.
    mapping(bytes32 root => bytes) private models;

    // ------------------------------------------------------------------ models

    function _keep(Vector memory model) internal returns (bytes32 root) {
        root = model.root();
        models[root] = abi.encode(model);
    }

    function _isKept(bytes32 root) internal view returns (bool) {
        return models[root].length != 0;
    }

    function _model(bytes32 root) internal view returns (Vector memory) {
        return abi.decode(models[root], (Vector));
    }

    // ------------------------------------------------------------------ results

    function _claim(Evidence memory e, Vector memory model) internal pure {
        e.model = model;
        e.result.globalRoot = model.root();
    }

    /// @dev Makes the claimed model differ by this much.
    function _falsify(Evidence memory e, uint256 coordinate, int256 by) internal pure {
        e.model.set(coordinate, e.model.at(coordinate) + by);
        _claim(e, e.model);
    }

    function _included(Evidence memory e)
        internal
        pure
        returns (Vector[] memory vectors, uint256[] memory weights)
    {
        (vectors, weights) = (new Vector[](e.vectors.length), new uint256[](e.vectors.length));
        uint256 count = 0;
        for (uint256 i = 0; i < e.vectors.length; ++i) {
            if (e.result.included >> i & 1 == 0) continue;
            (vectors[count], weights[count]) = (e.vectors[i], uint96(e.updates[i].partyAndWeight));
            ++count;
        }
        assembly ("memory-safe") {
            mstore(vectors, count)
            mstore(weights, count)
        }
    }

    function _digest(Evidence memory e) internal view returns (bytes32) {
        return federation.resultDigest(e.result);
    }

    // ------------------------------------------------------------------ proofs

    /// @dev Of the included updates in order, of the base and of the claimed model.
    function _proofs(Evidence memory e, uint256 coordinate) internal view returns (bytes memory packed) {
        (Vector[] memory vectors,) = _included(e);
        uint256 half = uint256(256) << rules.depth;
        uint256 place = Vectors.placeOf(rules.serverMomentumBps, rules.depth, coordinate);
        for (uint256 i = 0; i < vectors.length; ++i) {
            packed = abi.encodePacked(packed, vectors[i].proof(place));
        }
        packed = abi.encodePacked(packed, e.base.proof(coordinate));
        if (rules.serverMomentumBps != 0 && coordinate < half) {
            packed = abi.encodePacked(packed, e.base.proof(coordinate + half));
        }
        return abi.encodePacked(packed, e.model.proof(coordinate));
    }

    function _registration(address challenger, Evidence memory e, uint256 coordinate, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(challenger, e.result.round, _digest(e), coordinate, salt));
    }
}
