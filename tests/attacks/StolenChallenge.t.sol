// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice A thief sees the watcher's challenge in the mempool, with all the proofs, and sends it as its own to take
/// half of every slash.
contract StolenChallengeTest is DisputeTest {
    address internal thief = makeAddr("thief");

    /// @dev Mined first, the copy fails: the thief had not registered it. Registered now, it is a block late.
    function test_a_copied_challenge_earns_nothing() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        _steal(e, proofs);
        disputes.registerChallenge(_registration(thief, e, WRONG, SALT));
        _steal(e, proofs);

        _challengeWith(e, WRONG, proofs);
        vm.roll(block.number + 1);
        vm.expectRevert(IDisputes.AlreadyFraudulent.selector);
        vm.prank(thief);
        disputes.challenge(e.result, e.updates, WRONG, proofs, SALT);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            vm.prank(thief);
            _slash(e, i);
        }
        assertEq(_creditOf(thief), 0);
        assertEq(_creditOf(watcher), AGGREGATORS * STAKE / 2);
    }

    /// @dev What the watcher registers tells nobody what it has found: the thief can copy the hash, and has nothing.
    function test_a_copied_registration_earns_nothing() public {
        Evidence memory e = _acceptWrong();
        bytes32 hash = _registration(watcher, e, WRONG, SALT);
        vm.prank(thief);
        disputes.registerChallenge(hash);
        vm.prank(watcher);
        disputes.registerChallenge(hash);
        vm.roll(block.number + 1);
        bytes memory proofs = _proofs(e, WRONG);
        _steal(e, proofs);
        _challengeWith(e, WRONG, proofs);
        assertHead(0, 0);
    }

    /// @dev Whoever sends the call, an unanswered demand convicts for its demander.
    function test_a_copied_expiry_earns_nothing() public {
        Evidence memory e = _acceptWrong();
        uint256 id = _demand(1, 0, WRONG / 256);
        vm.warp(disputes.demandById(id).until);
        vm.prank(thief);
        disputes.expire(id, e.result);
        _slash(e, 0);
        vm.prank(thief);
        disputes.settleBond(id);
        assertEq(_creditOf(thief), 0);
        assertEq(_creditOf(watcher), STAKE / 2 + BOND);
    }

    function _steal(Evidence memory e, bytes memory proofs) private {
        vm.expectRevert(IDisputes.ChallengeNotRegistered.selector);
        vm.prank(thief);
        disputes.challenge(e.result, e.updates, WRONG, proofs, SALT);
    }
}
