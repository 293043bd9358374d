// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Params, Phase, Rule} from "../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector, Vectors} from "../contracts/support/Vectors.sol";

/// @notice All aggregators collude in a federation with server momentum. They lie in the momentum alone, which nobody
/// sees in the model of this round; they let it overflow; or they hide behind proofs of the other half of the state.
/// One watcher undoes it, as it undoes a wrong model. Nobody convicts a right state.
contract WrongMomentumTest is DisputeTest {
    using Vectors for Vector;

    /// @dev Where values are planted; 0 updates plant nothing.
    uint256 private constant PLANTED = 9;
    uint256 private plantedUpdates;
    int256 private plantedStep;
    int256 private plantedModel;
    int256 private plantedMomentum;

    // ------------------------------------------------------------------ a lie in the momentum alone

    function test_a_momentum_wrong_by_one_unit_is_undone_under_every_rule() public {
        for (uint256 i = 0; i <= uint256(type(Rule).max); ++i) {
            Params memory p = _moving();
            p.rule = Rule(i);
            if (p.rule == Rule.TrimmedMean) p.trimBps = 2_000;
            _start(p);
            _attackAt(_half() + WRONG, 1);
        }
    }

    function test_a_momentum_wrong_in_the_padding_is_undone() public {
        _start(_moving());
        _attackAt(_half() + 700, 1); // in a chunk of zeros
        _start(_moving());
        _attackAt(2 * _half() - 1, -1);
    }

    /// @dev The second round is right for its base, so it falls with the first one alone.
    function test_a_revocation_takes_the_momentum_back_with_the_model() public {
        _start(_moving());
        bytes32 genesis = federation.head().root;
        Evidence memory first = _acceptFalse(_half() + WRONG, 1_000_000);
        Evidence memory second = _acceptRight();
        assertHead(2, 2);
        _registerFor(second, WRONG);
        _expectRefused(second, WRONG, abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(first, _half() + WRONG);
        assertHead(0, 0);
        assertEq(federation.head().root, genesis);

        // What follows starts from the momentum of genesis: with that of the revoked round it is fraud.
        _toAttest(3);
        Evidence memory next = _evidence();
        assertEq(next.base.at(_half() + WRONG), first.base.at(_half() + WRONG));
        Evidence memory stale = _evidence();
        Vector memory wrongBase = stale.base.copy();
        wrongBase.set(_half() + WRONG, first.model.at(_half() + WRONG));
        (Vector[] memory vectors, uint256[] memory weights) = _included(stale);
        _claim(stale, Vectors.aggregate(rules, wrongBase, vectors, weights));
        _sign(stale, 1);
        _challenge(stale, WRONG);
        assertEq(disputes.fraud(_digest(stale)).challenger, watcher);
        _sign(next, AGGREGATORS);
        assertHead(1, 3);
    }

    /// @dev The owner may choose any genesis. Its momentum is applied by the rule, as it is: who signs a state that
    /// leaves it out is convicted.
    function test_the_momentum_of_genesis_cannot_be_left_out() public {
        (plantedUpdates, plantedStep, plantedModel, plantedMomentum) = (3, 0, 100, 1_000);
        _start(_moving());
        _toAttest(3);
        Evidence memory e = _evidence();
        assertEq(e.model.at(PLANTED), 1_000);
        assertEq(e.model.at(_half() + PLANTED), 900);
        _falsify(e, _half() + PLANTED, -900);
        _falsify(e, PLANTED, -900);
        _sign(e, AGGREGATORS);
        _challenge(e, PLANTED);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ overflow

    function test_a_momentum_beyond_32_bits_stays_at_the_limit() public {
        _attackLimit(type(int16).max, type(int32).max, type(int32).max);
        _attackLimit(type(int16).min, type(int32).min, type(int32).min);
    }

    /// @dev Momentum and model are limited one after the other: the full momentum is not lost on the way.
    function test_a_model_beyond_32_bits_stays_at_the_limit() public {
        (plantedUpdates, plantedStep, plantedModel, plantedMomentum) =
        (3, type(int16).min, type(int32).min, type(int32).min);
        Params memory p = _moving();
        (p.updateFractionBits, p.serverLearningRateBps) = (0, 1_000_000);
        _start(p);
        _toAttest(3);
        Evidence memory e = _evidence();
        assertEq(e.model.at(PLANTED), type(int32).min);
        assertEq(e.model.at(_half() + PLANTED), type(int32).min);
        _sign(e, AGGREGATORS);
        _registerFor(e, PLANTED);
        _expectRefused(e, PLANTED, abi.encodePacked(IDisputes.NotFraud.selector));
    }

    // ------------------------------------------------------------------ proofs of something else

    function test_proofs_of_a_federation_without_momentum_are_refused() public {
        _start(_moving());
        Evidence memory e = _acceptRight();
        _registerFor(e, WRONG);
        bytes memory proofs = bytes.concat(_updateProofs(e, WRONG), e.base.proof(WRONG), e.model.proof(WRONG));
        uint256 missing = ChunkTree.proofLength(4, rules.depth + 1);
        _expectWrongLength(e, WRONG, proofs, proofs.length + missing);
    }

    function test_proofs_of_a_federation_with_momentum_are_refused_without() public {
        Evidence memory e = _acceptRight();
        _registerFor(e, WRONG);
        bytes memory base = e.base.proof(WRONG);
        bytes memory proofs = bytes.concat(_updateProofs(e, WRONG), base, base, e.model.proof(WRONG));
        _expectWrongLength(e, WRONG, proofs, proofs.length - base.length);
        // A coordinate of a momentum is none.
        _registerFor(e, _half() + WRONG);
        _expectOutside(e, _half() + WRONG, 1 << rules.depth, rules.depth);
    }

    /// @dev The halves of the state in the wrong order, or one of them twice: each a true proof of its chunk.
    function test_a_proof_from_the_other_half_is_refused() public {
        _start(_moving());
        Evidence memory e = _acceptRight();
        uint256 moving = _half() + WRONG;
        _registerFor(e, WRONG);
        _registerFor(e, moving);
        bytes4 noBase = IDisputes.InvalidBaseProof.selector;
        bytes4 noModel = IDisputes.InvalidModelProof.selector;
        (bytes memory model, bytes memory momentum) = (e.base.proof(WRONG), e.base.proof(moving));
        bytes memory next = e.model.proof(WRONG);
        _expectOther(e, WRONG, bytes.concat(momentum, model, next), noBase);
        _expectOther(e, WRONG, bytes.concat(model, model, next), noBase);
        _expectOther(e, WRONG, bytes.concat(momentum, momentum, next), noBase);
        _expectOther(e, WRONG, bytes.concat(model, momentum, e.model.proof(moving)), noModel);
        _expectOther(e, moving, bytes.concat(model, e.model.proof(moving)), noBase);
        _expectOther(e, moving, bytes.concat(momentum, next), noModel);
        // The updates have no momentum: their chunk is that of the coordinate in the model.
        _expectOther(e, moving, bytes.concat(momentum, e.model.proof(moving)), IDisputes.NotFraud.selector);
    }

    function test_beyond_both_halves_is_no_coordinate() public {
        _start(_moving());
        Evidence memory e = _acceptRight();
        _registerFor(e, 2 * _half());
        _expectOutside(e, 2 * _half(), 1 << rules.depth, rules.depth);
    }

    // ------------------------------------------------------------------ a momentum that is not shown

    function test_a_withheld_momentum_is_demanded_like_a_model() public {
        _start(_moving());
        Evidence memory e = _acceptRight();
        uint8 depth = rules.depth;
        vm.deal(watcher, 1 ether);
        vm.prank(watcher);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NoSuchNode.selector, depth + 1, 1));
        disputes.demand{value: 1 ether}(1, depth + 1, 1);
        // The roots of both halves; the model's does not answer for that of the momentum.
        uint256 id = _demand(1, depth, 1);
        (bytes memory content, bytes memory path) = (e.model.content(depth, 0), e.model.path(depth, 0));
        vm.expectRevert(IDisputes.WrongAnswer.selector);
        disputes.answer(id, content, path);
        vm.warp(disputes.demandById(id).until);
        disputes.expire(id, e.result);
        assertHead(0, 0);
        _slash(e, 0);
        assertEq(_aggregatorStake(0), 0);
    }

    // ------------------------------------------------------------------ helpers

    function _genesisVector(uint256 depth) internal view override returns (Vector memory vector) {
        vector = super._genesisVector(depth);
        if (plantedUpdates == 0) return vector;
        vector.set(PLANTED, plantedModel);
        vector.set((uint256(256) << (depth - 1)) + PLANTED, plantedMomentum);
    }

    function _updateVector(uint256 round, uint256 i) internal view override returns (Vector memory vector) {
        vector = super._updateVector(round, i);
        if (i < plantedUpdates) vector.set(PLANTED, plantedStep);
    }

    function _moving() private pure returns (Params memory p) {
        p = _consortium();
        (p.serverLearningRateBps, p.serverMomentumBps) = (10_000, 9_000);
    }

    function _half() private view returns (uint256) {
        return uint256(256) << rules.depth;
    }

    function _acceptFalse(uint256 coordinate, int256 by) private returns (Evidence memory e) {
        _toAttest(3);
        e = _evidence();
        if (e.model.at(coordinate) > 0) by = -by;
        _falsify(e, coordinate, by);
        _sign(e, AGGREGATORS);
        assertPhase(Phase.Accepted);
    }

    /// @dev The coordinate of the model is right: nothing but the momentum shows the lie.
    function _attackAt(uint256 coordinate, int256 by) private {
        Evidence memory e = _acceptFalse(coordinate, by);
        _registerFor(e, coordinate - _half());
        _expectRefused(e, coordinate - _half(), abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(e, coordinate);
        assertHead(0, 0);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
    }

    /// @dev The right state is at the limit. One that wrapped around, as 32-bit arithmetic would, is fraud.
    function _attackLimit(int256 step, int256 momentum, int256 limit) private {
        (plantedUpdates, plantedStep, plantedModel, plantedMomentum) = (3, step, 0, momentum);
        Params memory p = _moving();
        p.updateFractionBits = 8;
        _start(p);
        _toAttest(3);
        Evidence memory e = _evidence();
        assertEq(e.model.at(_half() + PLANTED), limit);
        assertEq(e.model.at(PLANTED), limit);
        // round(0.9 V) + 2^16 A
        int256 exact = (limit * 9 + (limit < 0 ? -int256(5) : int256(5))) / 10 + step * 65_536;
        assertTrue(exact > type(int32).max || exact < type(int32).min);
        // forge-lint: disable-next-line(unsafe-typecast)
        int256 wrapped = int32(uint32(uint256(exact)));
        _falsify(e, _half() + PLANTED, wrapped - limit);
        _sign(e, AGGREGATORS);
        _challenge(e, _half() + PLANTED);
        assertHead(0, 0);
    }

    function _updateProofs(Evidence memory e, uint256 coordinate) private pure returns (bytes memory packed) {
        for (uint256 i = 0; i < e.vectors.length; ++i) {
            packed = bytes.concat(packed, e.vectors[i].proof(coordinate));
        }
    }

    function _expectWrongLength(Evidence memory e, uint256 coordinate, bytes memory proofs, uint256 right)
        private
    {
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, proofs.length, right));
        _challengeWith(e, coordinate, proofs);
    }

    function _expectOutside(Evidence memory e, uint256 coordinate, uint256 index, uint256 depth) private {
        bytes memory reason = abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, index, depth);
        _expectRefused(e, coordinate, reason);
    }

    /// @dev `states` are the proofs of base and model; those of the updates are right.
    function _expectOther(Evidence memory e, uint256 coordinate, bytes memory states, bytes4 reason) private {
        bytes memory proofs = bytes.concat(_updateProofs(e, coordinate % _half()), states);
        vm.expectRevert(reason);
        _challengeWith(e, coordinate, proofs);
    }
}
