// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Params, Rule} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector, Vectors} from "../contracts/support/Vectors.sol";

/// @notice A party sends an update as large as it can be, and all aggregators sign the model that it makes without
/// clipping, or with clipping to another limit. One watcher undoes it at one coordinate: the challenge shows the
/// chunk, and the contract computes its norm. Nobody convicts a model of clipped updates.
contract UnclippedMeanTest is DisputeTest {
    using Vectors for Vector;

    uint32 private constant LIMIT = 3_000;
    /// @dev The first chunk of the poisoned update, the first one; empty for a random chunk.
    int256[] private planted;

    // ------------------------------------------------------------------ a poisoned mean

    function test_a_model_of_unclipped_updates_is_undone_under_every_rule() public {
        for (uint256 i = 0; i <= uint256(type(Rule).max); ++i) {
            Params memory p = _clipping(LIMIT);
            p.rule = Rule(i);
            if (p.rule == Rule.TrimmedMean) p.trimBps = 2_000;
            _start(p);
            _attackWithLimit(0);
        }
    }

    function test_a_model_clipped_to_another_limit_is_undone() public {
        _start(_clipping(LIMIT));
        _attackWithLimit(LIMIT + 100);
        _start(_clipping(LIMIT));
        _attackWithLimit(LIMIT - 100);
    }

    /// @dev The aggregators clip where the parameters say nothing of it.
    function test_a_model_of_clipped_updates_is_undone_where_there_is_no_clipping() public {
        _start(_clipping(0));
        _attackWithLimit(LIMIT);
    }

    function test_a_momentum_of_unclipped_updates_is_undone() public {
        Params memory p = _clipping(LIMIT);
        p.serverMomentumBps = 9_000;
        _start(p);
        Evidence memory e = _roundWithLimit(0);
        _sign(e, AGGREGATORS);
        _challenge(e, _firstDifference(e) + (uint256(256) << rules.depth));
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ a right model stands

    function test_a_model_of_clipped_updates_cannot_be_convicted() public {
        _start(_clipping(LIMIT));
        Evidence memory e = _acceptRight();
        _expectRight(e, 0);
        _expectRight(e, WRONG);
        _expectRight(e, 256); // a chunk of zeros
        _expectRight(e, (uint256(256) << rules.depth) - 1);
        assertHead(1, 1);
    }

    /// @dev The norm of 300 and 400 is 500.
    function test_a_chunk_at_the_limit_is_kept_and_one_above_it_is_not() public {
        planted = [int256(300), -400];
        _expectSteps(500, 300, -400);
        _expectSteps(499, 299, -399);
        planted = [int256(300), -400, 1];
        _expectSteps(500, 299, -399);
        _expectSteps(501, 300, -400);
    }

    function test_a_chunk_of_the_least_values_is_within_the_limit() public {
        for (uint256 k = 0; k < 256; ++k) {
            planted.push(type(int16).min);
        }
        _expectSteps(0, -32_768, -32_768);
        _expectSteps(2 ** 19 - 1, -32_767, -32_767);
        _expectSteps(2 ** 18, -16_384, -16_384);
        _expectSteps(1, 0, 0);
    }

    // ------------------------------------------------------------------ steps

    function _clipping(uint32 limit) private pure returns (Params memory p) {
        p = _consortium();
        p.chunkNormLimit = limit;
    }

    /// @dev Undoes a model that follows from updates with another limit, or without one.
    function _attackWithLimit(uint32 limit) private {
        Evidence memory e = _roundWithLimit(limit);
        uint256 coordinate = _firstDifference(e);
        _sign(e, AGGREGATORS);
        assertHead(1, 1);
        _challenge(e, coordinate);
        assertHead(0, 0);
        _slash(e, 0);
        assertEq(_aggregatorStake(0), 0);
    }

    /// @dev With three updates, in the attest phase.
    function _roundWithLimit(uint32 limit) private returns (Evidence memory e) {
        _toAttest(3);
        e = _evidence();
        (Vector[] memory vectors, uint256[] memory weights) = _included(e);
        Params memory p = rules;
        p.chunkNormLimit = limit;
        _claim(e, Vectors.aggregate(p, e.base, vectors, weights));
    }

    function _firstDifference(Evidence memory e) private view returns (uint256 coordinate) {
        (Vector[] memory vectors, uint256[] memory weights) = _included(e);
        while (Vectors.nextAt(rules, e.base, vectors, weights, coordinate) == e.model.at(coordinate)) {
            ++coordinate;
        }
    }

    function _expectRight(Evidence memory e, uint256 coordinate) private {
        _registerFor(e, coordinate);
        _expectRefused(e, coordinate, abi.encodePacked(IDisputes.NotFraud.selector));
    }

    /// @dev A round of the planted update alone moves the first two coordinates by these steps; another state there
    /// is fraud.
    function _expectSteps(uint32 limit, int256 first, int256 second) private {
        Params memory p = _clipping(limit);
        (p.minUpdates, p.updateFractionBits) = (1, 15);
        _start(p);
        _toAttest(1);
        Evidence memory e = _evidence();
        e.model.set(0, e.base.at(0) + 512 * first);
        e.model.set(1, e.base.at(1) + 512 * second);
        _claim(e, e.model);
        uint256 state = vm.snapshotState();
        _sign(e, AGGREGATORS);
        _expectRight(e, 0);
        _expectRight(e, 1);
        vm.revertToState(state);
        _falsify(e, 1, 1);
        _sign(e, AGGREGATORS);
        _challenge(e, 1);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ vectors

    function _genesisVector(uint256 depth) internal view override returns (Vector memory vector) {
        vector = super._genesisVector(depth);
        // Far from the limits of 32 bits.
        vector.set(0, 1_000);
        vector.set(1, -1_000);
    }

    function _updateVector(uint256 round, uint256 i) internal view override returns (Vector memory vector) {
        vector = super._updateVector(round, i);
        if (i != 0 || planted.length == 0) return vector;
        for (uint256 k = 0; k < 256; ++k) {
            vector.set(k, k < planted.length ? planted[k] : int256(0));
        }
    }
}
