// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {CountedUpdate, Result, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IModelMirror, MirrorParams} from "../../contracts/interfaces/IModelMirror.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {Evidence} from "./support/Evidence.sol";
import {MirrorTest} from "./support/MirrorTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice Attacks on a mirror, each from its beginning to its failure: docs/threat-model.md.
contract MirrorAttacksTest is MirrorTest {
    using Vectors for Vector;

    address private thief = makeAddr("thief");

    // ------------------------------------------------------------------ a wrong result with a quorum

    /// @dev What the mirror recorded is enough to convict the signers at home, by somebody who has nothing else.
    function test_a_wrong_result_of_a_quorum_is_refused_and_its_signers_slashed_at_home() public {
        Evidence memory wrong = _acceptWrong();
        _submit(wrong);
        _mirrorRight();
        vm.recordLogs();
        _challenge(wrong);
        assertMirrorHead(0, 0);

        (uint256 coordinate, bytes memory proofs) = _recordedProof(vm.getRecordedLogs());
        assertHead(2, 2);
        disputes = IPlainFederation(address(federation));
        _registerFor(wrong, coordinate);
        _challengeWith(wrong, coordinate, proofs);
        assertHead(0, 0);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(wrong, i);
            assertEq(_aggregatorStake(i), 0);
        }
    }

    /// @dev The federation accepted a right result, and a quorum has signed a wrong one for the mirror only.
    function test_a_wrong_result_for_the_mirror_only_does_not_keep_the_right_one_out() public {
        _toAttest(3);
        (Evidence memory wrong, Evidence memory right) = (_evidence(), _evidence());
        _falsify(wrong);
        _sign(right, AGGREGATORS);
        _submit(wrong);
        // Until the challenge, the mirror has two results of a quorum, and takes neither.
        assertEq(_submit(right), 0);
        assertMirrorHead(0, 0);
        _challenge(wrong);
        _submit(right);
        assertEq(mirror.head().root, right.result.globalRoot);
    }

    function _recordedProof(Vm.Log[] memory logs) private view returns (uint256, bytes memory) {
        for (uint256 i = 0; i < logs.length; ++i) {
            bool isProof = logs[i].topics[0] == IModelMirror.FraudRecorded.selector;
            if (isProof && logs[i].emitter == address(mirror)) {
                return abi.decode(logs[i].data, (uint256, bytes));
            }
        }
        revert("the mirror recorded no proof");
    }

    // ------------------------------------------------------------------ a withheld model

    /// @dev The watcher has the updates, and so the right tree. It finds the wrong chunk by its demands.
    function test_a_withheld_wrong_model_is_found_by_demands() public {
        Evidence memory wrong = _acceptWrong();
        uint32 submission = _submit(wrong);
        uint256 id = _demand(submission, uint8(rules.depth), 0);
        while (disputes.demandById(id).level > 0) {
            _answer(id, wrong.model);
            uint256 below = disputes.demandById(id).level;
            below -= below < 6 ? below : 6;
            // The wrong coordinate is in the first chunk.
            id = _descend(id, 0);
            assertEq(disputes.demandById(id).level, below);
        }
        _answer(id, wrong.model);
        _challenge(wrong);
        assertMirrorHead(0, 0);
        disputes.settleBond(id);
        assertEq(mirror.creditOf(watcher), BOND);
    }

    function test_a_model_that_nobody_shows_does_not_become_final() public {
        Evidence memory wrong = _acceptWrong();
        uint32 submission = _submit(wrong);
        for (uint256 i = 1; i < 4; ++i) {
            vm.warp(disputes.window(submission).windowEnd - 1);
            uint256 id = _demand(submission, 0, i);
            vm.warp(disputes.demandById(id).until);
            mirror.expire(id, wrong.result);
            assertMirrorHead(0, 0);
            disputes.settleBond(id);
            // The whole bond comes back.
            assertEq(mirror.creditOf(watcher), i * BOND);
            submission = _submit(wrong);
        }
    }

    // ------------------------------------------------------------------ equivocation

    function test_two_results_of_a_round_do_not_both_become_final() public {
        (Evidence memory accepted, Evidence memory other) = _equivocation();
        vm.warp(block.timestamp + 10 * WINDOW);
        vm.expectRevert(IModelMirror.NotFinalizable.selector);
        mirror.finalize();
        Evidence memory later = _acceptRight();
        _decide(accepted, later);
        _mirrorRefuses(IModelMirror.AlreadyRecorded.selector);
        _submit(other);
        _submit(later);
        vm.warp(mirror.head().finalAt);
        mirror.finalize();
        mirror.finalize();
        assertEq(mirror.model(1).root, accepted.result.globalRoot);
    }

    /// @dev A quorum that also signs a later round on the other result only makes another equivocation.
    function test_a_second_chain_of_a_quorum_is_on_record() public {
        (Evidence memory accepted, Evidence memory other) = _equivocation();
        Evidence memory later = _acceptRight();
        _decide(accepted, later);
        _submit(later);
        Evidence memory rival = _rivalOn(other, 2);
        vm.recordLogs();
        assertEq(_submit(rival), 0);
        assertEq(vm.getRecordedLogs()[0].topics[0], IModelMirror.EquivocationRecorded.selector);
        assertMirrorHead(1, _number(1, 2));
    }

    // ------------------------------------------------------------------ replay

    function test_a_result_of_another_federation_or_chain_is_not_taken() public {
        Evidence memory e = _acceptRight();
        MirrorParams memory m = _mirrorParams();
        m.home = address(uint160(m.home) + 1);
        mirror = _deployMirror(m, _seats(AGGREGATORS));
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        _submit(e);
        m = _mirrorParams();
        m.homeChainId = MIRROR_CHAIN;
        mirror = _deployMirror(m, _seats(AGGREGATORS));
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        _submit(e);
    }

    function test_a_change_of_seats_of_another_mirror_or_chain_is_not_taken() public {
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        bytes32[] memory newSeats = _seatsOf(_keysFrom(10, AGGREGATORS));
        vm.chainId(MIRROR_CHAIN);
        bytes32 digest = mirror.seatChangeDigest(3, newSeats);
        Signature[] memory signatures = _signedBy(keys, 3, digest);
        IModelMirror other = _deployMirror(_mirrorParams(), seats);
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        other.changeSeats(3, newSeats, seats, 7, signatures);
        vm.chainId(MIRROR_CHAIN + 1);
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        mirror.changeSeats(3, newSeats, seats, 7, signatures);
        vm.chainId(MIRROR_CHAIN);
        mirror.changeSeats(3, newSeats, seats, 7, signatures);
    }

    // ------------------------------------------------------------------ stale seats

    function test_seats_that_were_replaced_sign_no_later_round() public {
        _mirrorRight();
        _changeSeats(2, 10);
        Evidence memory e = _acceptRight();
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.WrongSeats.selector, mirror.seatsFor(2).seatsHash));
        _submit(e);
        uint256[] memory keys = _keysFrom(10, AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        Signature[] memory old = _signedBy(_seatKeys(AGGREGATORS), 3, _digest(e));
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        mirror.submit(e.result, e.updates, seats, 7, old);
        _submit(e.result, e.updates, keys, 3);
        assertMirrorHead(2, _number(2, 1));
    }

    /// @dev Keys of old seats, whose stake is long withdrawn, cannot fill a gap that void rounds have left.
    function test_old_seats_cannot_sign_an_old_round_below_the_head() public {
        Evidence memory e = _acceptRight();
        _changeSeats(5, 10);
        Evidence memory fifth = _rivalOn(e, 5);
        fifth.result.baseRoot = rules.genesisRoot;
        _submit(fifth.result, fifth.updates, _keysFrom(10, AGGREGATORS), 3);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundNotLater.selector, 5));
        _submit(e);
    }

    // ------------------------------------------------------------------ a front-run challenge

    function test_a_challenge_seen_in_the_mempool_cannot_be_taken_over() public {
        Evidence memory wrong = _acceptWrong();
        _submit(wrong);
        _registerFor(wrong, WRONG);
        bytes memory proofs = _proofs(wrong, WRONG);
        vm.prank(thief);
        vm.expectRevert(IDisputes.ChallengeNotRegistered.selector);
        mirror.challenge(wrong.result, wrong.updates, WRONG, proofs, SALT);
        disputes.registerChallenge(_registration(thief, wrong, WRONG, SALT));
        vm.prank(thief);
        vm.expectRevert(IDisputes.ChallengeNotRegistered.selector);
        mirror.challenge(wrong.result, wrong.updates, WRONG, proofs, SALT);
        _challengeWith(wrong, WRONG, proofs);
        assertEq(disputes.fraud(_digest(wrong)).challenger, watcher);
    }

    // ------------------------------------------------------------------ spam

    function test_nobody_without_a_quorum_changes_anything() public {
        (Evidence memory e,) = _mirrorRight();
        Evidence memory junk = _rivalOn(e, 2);
        uint256[] memory keys = _keysFrom(50, AGGREGATORS);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.WrongSeats.selector, mirror.seatsFor(2).seatsHash));
        _submit(junk.result, junk.updates, keys, 3);
        assertMirrorHead(1, _number(1, 1));
        assertEq(mirror.roundOf(2).attempts, 0);
    }

    /// @dev Of a right model, which somebody shows: each demand costs half its bond, and the bond rises.
    function test_demands_for_a_right_model_cost_their_bonds_and_delay_it_once() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        _demand(submission, 1, 0);
        uint256 end = mirror.head().finalAt;
        uint256 paid = BOND;
        for (uint256 i = 1; i < 5; ++i) {
            paid += _bond(submission);
            assertEq(_bond(submission), (i + 1) * uint256(BOND));
            _demand(submission, 1, i);
        }
        for (uint256 id = 1; id <= 5; ++id) {
            _answer(id, e.model);
        }
        assertEq(mirror.head().finalAt, end);
        vm.warp(end);
        mirror.finalize();
        for (uint256 id = 1; id <= 5; ++id) {
            disputes.settleBond(id);
        }
        assertEq(mirror.creditOf(watcher), 0);
        assertEq(mirror.creditOf(stranger), paid / 2);
    }

    // ------------------------------------------------------------------ steps

    /// @dev A result that no honest aggregator signs: of this round, on the model of another result.
    function _rivalOn(Evidence memory below, uint64 round) private pure returns (Evidence memory e) {
        Result memory r = below.result;
        (e.updates, e.vectors, e.base, e.model) = (below.updates, below.vectors, below.model, below.model);
        bytes32 root = keccak256(abi.encode("rival", round));
        e.result = Result(round, r.updatesHash, r.globalRoot, r.included, root, _cid(root));
    }
}
