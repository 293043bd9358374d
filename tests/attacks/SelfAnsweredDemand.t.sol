// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector} from "../contracts/support/Vectors.sol";

/// @notice An attacker demands nodes and answers itself, again and again, so that a round is never final: nobody is
/// paid, and no stake leaves.
contract SelfAnsweredDemandTest is DisputeTest {
    uint256 internal constant STEPS = 2 + 2; // ceil(10 / 6) answers, and two more

    /// @dev A round's finality moves once, by a fixed time, whatever the attacker does; new demands end with the
    /// challenge window. Every answer of its own costs it half a bond.
    function test_finality_is_delayed_once_and_for_a_bounded_time() public {
        Evidence memory e = _acceptRight();
        uint256 windowEnd = _window(e).windowEnd;
        uint256 bound = windowEnd + 2 * ANSWER_PERIOD * STEPS;
        uint256 paid = 0;
        uint256 id = 0;
        while (block.timestamp < windowEnd) {
            paid += _bond(1);
            id = _demand(1, rules.depth, 0);
            _answerOwn(id, e.model);
            assertEq(_window(e).finalAt, bound);
            skip(ANSWER_PERIOD);
            disputes.closeDescent(id);
        }
        vm.warp(windowEnd);
        vm.deal(watcher, BOND);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.DisputeWindowClosed.selector, windowEnd));
        vm.prank(watcher);
        disputes.demand{value: BOND}(1, rules.depth, 0);

        vm.warp(bound - 1);
        vm.expectRevert(IFederation.NotFinalizable.selector);
        federation.finalize();
        vm.warp(bound);
        federation.finalize();
        for (uint256 i = 1; i <= id; ++i) {
            disputes.settleBond(i);
        }
        assertEq(_creditOf(watcher), paid / 2, "the other half is burnt");
    }

    /// @dev At the last second, in the slowest descent there can be: the round is final after it all the same.
    function test_the_slowest_descent_ends_before_the_round_is_final() public {
        Evidence memory e = _acceptRight();
        vm.warp(_window(e).windowEnd - 1);
        uint256 id = _demand(1, rules.depth, 0);
        while (true) {
            vm.warp(disputes.demandById(id).until - 1);
            _answerOwn(id, e.model);
            if (disputes.demandById(id).level == 0) break;
            vm.warp(disputes.demandById(id).until - 1);
            id = _descend(id, 0);
        }
        assertEq(_window(e).openDescents, 0);
        // A challenge of the chunk that came last would still be in time.
        assertGt(_window(e).finalAt, block.timestamp + 2 * ANSWER_PERIOD);
        vm.warp(_window(e).finalAt);
        federation.finalize();
    }

    /// @dev After the window it may continue its own descent only, and only within an answer period.
    function test_a_descent_is_not_continued_at_leisure() public {
        Evidence memory e = _acceptRight();
        uint256 id = _demand(1, rules.depth, 0);
        _answerOwn(id, e.model);
        skip(ANSWER_PERIOD);
        vm.deal(watcher, BOND);
        vm.expectRevert(IDisputes.DescentEnded.selector);
        vm.prank(watcher);
        disputes.descend{value: BOND}(id, 0);
    }

    function _answerOwn(uint256 id, Vector memory model) private {
        stranger = watcher; // who answers in `_answer`
        _answer(id, model);
    }
}
