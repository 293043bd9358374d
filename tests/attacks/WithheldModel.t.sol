// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector, Vectors} from "../contracts/support/Vectors.sol";

/// @notice All aggregators sign a root and show the model to nobody: what nobody sees, nobody can prove wrong. The
/// watcher knows the right tree, and makes them show theirs, or lose.
contract WithheldModelTest is DisputeTest {
    using Vectors for Vector;

    /// @dev A root behind which there may be nothing: they cannot answer, and are guilty.
    function test_a_model_that_is_not_shown_is_undone() public {
        _toAttest(3);
        Evidence memory e = _evidence();
        e.result.globalRoot = "behind this there is nothing";
        _attest(e.result, AGGREGATORS);
        assertHead(1, 1);

        uint256 id = _demand(1, rules.depth, 0);
        _expireTooEarly(id, e);
        vm.warp(disputes.demandById(id).until);
        disputes.expire(id, e.result);
        assertHead(0, 0);
        _everySignerPays(e);
        // The watcher's bond is back, whole.
        disputes.settleBond(id);
        assertEq(_creditOf(watcher), AGGREGATORS * STAKE / 2 + BOND);
    }

    /// @dev They answer, to save themselves: each answer leads the watcher down to the first difference. What it
    /// proves at the end with, it has from their answers alone.
    function test_a_wrong_model_that_is_shown_piecemeal_is_undone() public {
        _toAttest(3);
        Evidence memory e = _evidence();
        Vector memory right = e.model.copy();
        _falsify(e);
        _sign(e, AGGREGATORS);

        (uint256 place, bytes memory proof) = _descendToTheDifference(e, right);
        assertEq(place, WRONG / 256);
        Evidence memory known = e;
        known.model = right;
        bytes memory proofs = _proofs(known, WRONG);
        uint256 length = proofs.length - proof.length;
        assembly ("memory-safe") {
            mstore(proofs, length)
        }
        _registerFor(e, WRONG);
        _challengeWith(e, WRONG, abi.encodePacked(proofs, proof));
        assertHead(0, 0);
        _everySignerPays(e);
    }

    /// @dev They answer until they have to show the chunk that is wrong, and stop there.
    function test_going_silent_halfway_does_not_help() public {
        Evidence memory e = _acceptWrong();
        uint256 root = _demand(1, rules.depth, 0);
        _answer(root, e.model);
        uint256 id = _descend(root, 0);
        vm.warp(disputes.demandById(id).until);
        disputes.expire(id, e.result);
        assertHead(0, 0);
        _everySignerPays(e);
    }

    /// @dev They answer with the right tree, which is not the one that they signed.
    function test_showing_another_tree_is_no_answer() public {
        _toAttest(3);
        Evidence memory e = _evidence();
        Vector memory right = e.model.copy();
        _falsify(e);
        _sign(e, AGGREGATORS);
        uint256 id = _demand(1, rules.depth, 0);
        bytes memory content = right.content(uint8(rules.depth), 0);
        vm.expectRevert(IDisputes.WrongAnswer.selector);
        vm.prank(_aggregator(0));
        disputes.answer(id, content, "");
        vm.warp(disputes.demandById(id).until);
        disputes.expire(id, e.result);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ the watcher

    /// @dev From the root down. Returns the index of the chunk, and the chunk with its siblings from the leaf
    /// upwards, all of it from the answers.
    function _descendToTheDifference(Evidence memory e, Vector memory right)
        private
        returns (uint256 index, bytes memory proof)
    {
        uint256 id = _demand(uint32(e.result.round), rules.depth, 0);
        bytes memory siblings;
        while (true) {
            Demand memory asked = disputes.demandById(id);
            bytes memory shown = e.model.content(asked.level, asked.index); // what they answer with
            _answer(id, e.model);
            if (asked.level == 0) return (index, abi.encodePacked(shown, siblings));
            uint256 levels = asked.level < 6 ? asked.level : 6;
            uint256 position = _firstDifference(shown, right.content(asked.level, asked.index));
            siblings = abi.encodePacked(_siblings(shown, position, levels), siblings);
            index = asked.index << levels | position;
            id = _descend(id, index);
        }
    }

    function _firstDifference(bytes memory shown, bytes memory right) private pure returns (uint256 i) {
        while (_word(shown, i) == _word(right, i)) ++i;
    }

    /// @dev Of a node, on the way up through the levels that were shown.
    function _siblings(bytes memory nodes, uint256 position, uint256 levels)
        private
        pure
        returns (bytes memory packed)
    {
        for (; levels > 0; --levels) {
            packed = abi.encodePacked(packed, _word(nodes, position ^ 1));
            bytes memory above = new bytes(nodes.length / 2);
            for (uint256 i = 0; i < above.length / 32; ++i) {
                bytes32 node = keccak256(abi.encode(_word(nodes, 2 * i), _word(nodes, 2 * i + 1)));
                assembly ("memory-safe") {
                    mstore(add(add(above, 32), mul(32, i)), node)
                }
            }
            (nodes, position) = (above, position / 2);
        }
    }

    function _word(bytes memory nodes, uint256 i) private pure returns (bytes32 node) {
        assembly ("memory-safe") {
            node := mload(add(add(nodes, 32), mul(32, i)))
        }
    }

    // ------------------------------------------------------------------ steps

    function _expireTooEarly(uint256 id, Evidence memory e) private {
        uint40 until = disputes.demandById(id).until;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotOverdue.selector, until));
        disputes.expire(id, e.result);
    }

    function _everySignerPays(Evidence memory e) private {
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
        assertEq(_creditOf(watcher), AGGREGATORS * STAKE / 2);
    }
}
