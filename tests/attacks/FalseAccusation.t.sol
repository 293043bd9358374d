// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {CountedUpdate, IFederation} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector, Vectors} from "../contracts/support/Vectors.sol";

/// @notice Somebody accuses honest aggregators of a right result: for half of their stake, or to undo the round. It
/// tries every part of the evidence. Each attempt costs its gas, and each demand half a bond.
contract FalseAccusationTest is DisputeTest {
    using Vectors for Vector;

    function setUp() public override {
        super.setUp();
        _registerFor(_acceptRight(), WRONG);
    }

    function test_the_honest_truth_is_no_fraud() public {
        _accuse(_evidence(), IDisputes.NotFraud.selector);
    }

    /// @dev Another value in an update, in the base or in the model: nothing has the right root any more.
    function test_forged_values_are_refused() public {
        Evidence memory forged = _evidence();
        forged.vectors[1].set(WRONG, forged.vectors[1].at(WRONG) == 0 ? int256(1) : int256(0));
        _accuse(forged, IDisputes.InvalidUpdateProof.selector);
        forged = _evidence();
        forged.base.set(WRONG, forged.base.at(WRONG) / 2 + 1);
        _accuse(forged, IDisputes.InvalidBaseProof.selector);
        forged = _evidence();
        forged.model.set(WRONG, forged.model.at(WRONG) / 2 + 1);
        _accuse(forged, IDisputes.InvalidModelProof.selector);
    }

    /// @dev The right proofs of another chunk: positions are bound.
    function test_values_from_another_place_are_refused() public {
        Evidence memory right = _evidence();
        bytes memory elsewhere = _proofs(right, WRONG + 256);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 0));
        _challengeWith(right, WRONG, elsewhere);
    }

    /// @dev Other updates, other weights, one left out, one twice, two exchanged.
    function test_another_list_of_updates_is_refused() public {
        bytes memory proofs = _proofs(_evidence(), WRONG);
        for (uint256 kind = 0; kind < 5; ++kind) {
            Evidence memory forged = _evidence();
            CountedUpdate[] memory updates = forged.updates;
            if (kind == 0) updates[0].root = "another";
            if (kind == 1) updates[0].partyAndWeight ^= 1;
            if (kind == 2) updates[0] = updates[1];
            if (kind == 3) (updates[0], updates[1]) = (updates[1], updates[0]);
            if (kind == 4) forged.updates = new CountedUpdate[](2);
            vm.expectRevert(IFederation.UpdatesMismatch.selector);
            _challengeWith(forged, WRONG, proofs);
        }
    }

    /// @dev As a result of fewer updates it would be wrong; but nobody has signed that.
    function test_a_result_that_nobody_signed_accuses_nobody() public {
        Evidence memory forged = _evidence();
        forged.result.included = 3;
        _registerFor(forged, WRONG);
        _accuse(forged, IFederation.UnknownResult.selector);
    }

    /// @dev At a coordinate beyond the tree, where all would be missing.
    function test_there_is_no_coordinate_beyond_the_tree() public {
        Evidence memory right = _evidence();
        uint256 beyond = (uint256(256) << rules.depth) + WRONG;
        _registerFor(right, beyond);
        bytes memory proofs = _proofs(right, WRONG);
        vm.expectPartialRevert(ChunkTree.IndexOutOfTree.selector);
        _challengeWith(right, beyond, proofs);
    }

    /// @dev A demand that was answered accuses nobody, and costs half its bond.
    function test_an_answered_demand_costs_its_demander() public {
        Evidence memory right = _evidence();
        uint256 id = _demand(1, rules.depth, 0);
        _answer(id, right.model);
        skip(2 * ANSWER_PERIOD);
        vm.expectRevert(IDisputes.AlreadyAnswered.selector);
        disputes.expire(id, right.result);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        disputes.settleBond(id);
        assertEq(_creditOf(stranger), BOND / 2, "who answered");
        assertEq(_creditOf(watcher), 0, "who accused");
    }

    // ------------------------------------------------------------------ steps

    /// @dev The accuser pays for the gas, the accused for nothing.
    function _accuse(Evidence memory forged, bytes4 reason) private {
        bytes memory proofs = _proofs(forged, WRONG);
        vm.prank(watcher);
        (bool done, bytes memory returned) = address(disputes)
            .call(
                abi.encodeCall(
                    IPlainFederation.challenge, (forged.result, forged.updates, WRONG, proofs, SALT)
                )
            );
        assertFalse(done);
        assertEq(bytes4(returned), reason);
        assertGt(vm.lastCallGas().gasTotalUsed, 100_000, "what it cost the accuser");
        assertHead(1, 1);
        bytes32 digest = _digest(_evidence());
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            vm.expectRevert(IFederation.NotSlashable.selector);
            disputes.slashSigner(digest, uint8(i));
            assertEq(_aggregatorStake(i), STAKE);
        }
    }
}
