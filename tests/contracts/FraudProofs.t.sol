// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Params, Rule} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice What is right can never be proven wrong, and what is wrong always can, where it is wrong and nowhere
/// else. On random models and updates, in federations of random rules.
contract FraudProofsTest is DisputeTest {
    using Vectors for Vector;

    uint256 private random;

    function setUp() public override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
    }

    // ------------------------------------------------------------------ challenges

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_ARightResultIsNeverFraud(uint256 seed) public {
        Evidence memory e = _scene(seed);
        _sign(e, AGGREGATORS);
        for (uint256 i = 0; i < 8; ++i) {
            _expectNotFraud(e, _coordinate(e));
        }
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_AWrongResultIsFraudWhereItIsWrongOnly(uint256 seed, int32 by) public {
        vm.assume(by != 0);
        Evidence memory e = _scene(seed);
        uint256 wrong = _coordinate(e);
        // In 32 bits, so that it may wrap.
        _falsify(e, wrong, by);
        _sign(e, AGGREGATORS);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 other = _coordinate(e);
            if (other != wrong) _expectNotFraud(e, other);
        }
        _challenge(e, wrong);
        assertHead(0, 0);
    }

    /// @dev No bit of what is packed can be another: it is checked against a root.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_NoProofCanBeForged(uint256 seed) public {
        Evidence memory e = _scene(seed);
        _sign(e, AGGREGATORS);
        uint256 coordinate = _coordinate(e);
        _registerFor(e, coordinate);
        for (uint256 i = 0; i < 8; ++i) {
            bytes memory proofs = _proofs(e, coordinate);
            uint256 bit = _below(8 * proofs.length);
            proofs[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
            _expectInvalidProof(e, coordinate, proofs);
        }
    }

    // ------------------------------------------------------------------ descents

    /// @dev The watcher knows the right model and has never seen the wrong one; everybody takes all the time there
    /// is. The walk ends, at a chunk that proves the fraud, before the round can become final.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_AWithheldModelIsWalkedToItsFirstError(uint256 seed, int32 by) public {
        vm.assume(by != 0);
        Evidence memory e = _scene(seed);
        Vector memory right = e.model.copy();
        uint256 wrong = _coordinate(e);
        _falsify(e, wrong, by);
        _sign(e, AGGREGATORS);
        vm.warp(_window(e).windowEnd - 1);
        uint256 id = _demand(1, Vectors.stateDepth(rules), 0);
        while (true) {
            Demand memory asked = disputes.demandById(id);
            vm.warp(asked.until - 1);
            _answer(id, e.model);
            if (asked.level == 0) break;
            uint256 next = _firstDifference(right, asked, e.model.content(asked.level, asked.index));
            vm.warp(disputes.demandById(id).until - 1);
            id = _descend(id, next);
        }
        uint256 finalAt = _window(e).finalAt;
        assertEq(disputes.demandById(id).index, wrong / 256);
        assertLe(block.timestamp + 3 * ANSWER_PERIOD, finalAt);
        vm.warp(finalAt - 1);
        _challenge(e, wrong);
        assertHead(0, 0);
    }

    /// @dev At whatever node they fall silent, there is time to say so.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_SilenceIsGuilt(uint256 seed) public {
        Evidence memory e = _scene(seed);
        _sign(e, AGGREGATORS);
        vm.warp(_window(e).windowEnd - 1);
        uint256 id = _demand(1, Vectors.stateDepth(rules), 0);
        for (uint256 left = _below(5); left != 0; --left) {
            Demand memory asked = disputes.demandById(id);
            if (asked.level == 0) break;
            vm.warp(asked.until - 1);
            _answer(id, e.model);
            vm.warp(disputes.demandById(id).until - 1);
            uint256 levels = asked.level < 6 ? asked.level : 6;
            id = _descend(id, (asked.index << levels) + _below(1 << levels));
        }
        vm.warp(disputes.demandById(id).until);
        assertLe(block.timestamp + 3 * ANSWER_PERIOD, _window(e).finalAt);
        disputes.expire(id, e.result);
        assertHead(0, 0);
    }

    /// @dev Every node has one answer.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_NoAnswerCanBeForged(uint256 seed) public {
        Evidence memory e = _scene(seed);
        _sign(e, AGGREGATORS);
        uint256 level = _below(e.model.depth + 1);
        uint256 index = _below(1 << (e.model.depth - level));
        uint256 id = _demand(1, uint8(level), index);
        bytes memory content = e.model.content(level, index);
        bytes memory path = e.model.path(level, index);
        uint256 state = vm.snapshotState();
        disputes.answer(id, content, path);
        vm.revertToState(state);
        uint256 bit = _below(8 * (content.length + path.length));
        bytes1 flip = bytes1(uint8(1 << (bit % 8)));
        if (bit / 8 < content.length) content[bit / 8] ^= flip;
        else path[bit / 8 - content.length] ^= flip;
        vm.expectRevert(IDisputes.WrongAnswer.selector);
        disputes.answer(id, content, path);
    }

    // ------------------------------------------------------------------ scenes

    /// @dev A federation of random rules, in a round with two to five updates, of which it includes some.
    function _scene(uint256 seed) private returns (Evidence memory) {
        random = seed;
        Params memory p = _consortium();
        uint8[8] memory depths = [0, 1, 2, 5, 6, 7, 13, 21];
        p.depth = depths[_below(8)];
        p.rule = Rule(_below(uint256(type(Rule).max) + 1));
        p.trimBps = uint16(_below(5000));
        p.updateFractionBits = uint8(_below(25));
        if (_below(2) == 0) p.serverLearningRateBps = uint32(1 + _below(1_000_000));
        if (_below(2) == 0) p.serverMomentumBps = uint16(1 + _below(9_999));
        _start(p);
        uint256 count = 2 + _below(4);
        _toAttest(count);
        // The first two always: a round needs as many.
        return _evidence(uint128(3 | _below(1 << count)));
    }

    /// @dev One in three in the padding, with values that are all zero.
    function _coordinate(Evidence memory e) private returns (uint256) {
        uint256 place = _below(2) * ((1 << e.model.depth) - 1);
        if (_below(3) == 0) place = _below(1 << e.model.depth);
        return 256 * place + _below(256);
    }

    function _firstDifference(Vector memory right, Demand memory asked, bytes memory shown)
        private
        pure
        returns (uint256 index)
    {
        uint256 levels = asked.level < 6 ? asked.level : 6;
        for (uint256 i = 0; i < 1 << levels; ++i) {
            index = (asked.index << levels) + i;
            bytes32 node;
            assembly ("memory-safe") {
                node := mload(add(add(shown, 32), mul(32, i)))
            }
            if (node != right.node(asked.level - levels, index)) return index;
        }
        revert("no difference");
    }

    function _below(uint256 limit) private returns (uint256) {
        random = uint256(keccak256(abi.encode(random)));
        return random % limit;
    }

    // ------------------------------------------------------------------ expectations

    function _expectNotFraud(Evidence memory e, uint256 coordinate) private {
        _registerFor(e, coordinate);
        _expectRefused(e, coordinate, abi.encodePacked(IDisputes.NotFraud.selector));
    }

    function _expectInvalidProof(Evidence memory e, uint256 coordinate, bytes memory proofs) private {
        vm.prank(watcher);
        try disputes.challenge(e.result, e.updates, coordinate, proofs, SALT) {
            revert("a forged proof was taken");
        } catch (bytes memory reason) {
            bytes4 error = bytes4(reason);
            bool update = error == IDisputes.InvalidUpdateProof.selector;
            bool base = error == IDisputes.InvalidBaseProof.selector;
            assertTrue(update || base || error == IDisputes.InvalidModelProof.selector, "another error");
        }
    }
}
