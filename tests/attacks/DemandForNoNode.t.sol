// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice Somebody demands a node that the tree does not have: honest signers could not answer, and would be guilty.
contract DemandForNoNodeTest is DisputeTest {
    function test_a_node_that_does_not_exist_cannot_be_demanded() public {
        Evidence memory e = _acceptRight();
        uint8 depth = rules.depth;
        _demandInVain(depth + 1, 0);
        _demandInVain(type(uint8).max, 0);
        _demandInVain(depth, 1);
        _demandInVain(depth - 1, 2);
        _demandInVain(0, uint256(1) << depth);
        _demandInVain(0, type(uint256).max);
        _demandInVain(depth, uint256(1) << 255);
        assertEq(_window(e).openDescents, 0);
        assertEq(_window(e).finalAt, _window(e).windowEnd, "nothing was delayed");
    }

    /// @dev Nor on the way down: only what the last answer has shown.
    function test_a_descent_stays_below_the_node_that_was_shown() public {
        Evidence memory e = _acceptRight();
        uint256 id = _demand(1, rules.depth - 1, 1);
        _answer(id, e.model);
        uint256[3] memory elsewhere = [uint256(63), 128, type(uint256).max];
        for (uint256 i = 0; i < 3; ++i) {
            vm.deal(watcher, BOND);
            vm.expectRevert(abi.encodeWithSelector(IDisputes.NotBelow.selector, elsewhere[i]));
            vm.prank(watcher);
            disputes.descend{value: BOND}(id, elsewhere[i]);
        }
        _descend(id, 64);
    }

    /// @dev Every node that the tree has can be answered, at the edges and in the zeros of the padding too.
    function test_every_node_that_exists_can_be_answered() public {
        Evidence memory e = _acceptRight();
        for (uint8 level = 0; level <= rules.depth; ++level) {
            uint256 last = (uint256(1) << (rules.depth - level)) - 1;
            _answer(_demand(1, level, 0), e.model);
            _answer(_demand(1, level, last / 2), e.model);
            _answer(_demand(1, level, last), e.model);
        }
    }

    function _demandInVain(uint8 level, uint256 index) private {
        vm.deal(watcher, BOND);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NoSuchNode.selector, level, index));
        vm.prank(watcher);
        disputes.demand{value: BOND}(1, level, index);
        assertEq(watcher.balance, BOND);
    }
}
