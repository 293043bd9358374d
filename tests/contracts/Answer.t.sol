// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See Answer.tree. The tree has 10 levels.
contract AnswerTest is DisputeTest {
    using Vectors for Vector;

    // ------------------------------------------------------------------ answer

    function test_Answer_RevertWhen_ThereIsNoSuchDemand() public {
        vm.expectRevert(IDisputes.UnknownDemand.selector);
        disputes.answer(1, "", "");
    }

    function test_Answer_RevertWhen_TheRoundIsOrphaned() public {
        Evidence memory e = _acceptWrong();
        uint256 id = _demand(1, 0, 0);
        _challenge(e);
        _expectAnswerRefused(
            id, e.model.content(0, 0), e.model.path(0, 0), abi.encodePacked(IDisputes.RoundNotAlive.selector)
        );
    }

    function test_Answer_RevertWhen_ItIsAnswered() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        _answer(id, e.model);
        _expectAnswerRefused(
            id, e.model.content(10, 0), "", abi.encodePacked(IDisputes.AlreadyAnswered.selector)
        );
    }

    function test_Answer_RevertWhen_ItIsTooLate() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        uint256 until = disputes.demandById(id).until;
        bytes memory reason = abi.encodeWithSelector(IDisputes.AnswerOverdue.selector, until);
        vm.warp(until);
        _expectAnswerRefused(id, e.model.content(10, 0), "", reason);
        vm.warp(until + 1 days);
        _expectAnswerRefused(id, e.model.content(10, 0), "", reason);
        vm.warp(until - 1);
        _answer(id, e.model);
    }

    function test_Answer_RevertWhen_ThereAreMoreNodesOrFewer() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        _expectWrongLength(id, "");
        // One level below the root; seven levels; a byte more; the level above the shown one.
        _expectWrongLength(id, abi.encodePacked(e.model.node(9, 0), e.model.node(9, 1)));
        _expectWrongLength(id, new bytes(128 * 32));
        _expectWrongLength(id, abi.encodePacked(e.model.content(10, 0), bytes1(0)));
        _expectWrongLength(id, new bytes(32 * 32));

        // Four levels above the leaves there are 16 of them.
        id = _demand(1, 4, 63);
        _expectWrongLength(id, new bytes(64 * 32));
        _expectWrongLength(id, new bytes(15 * 32));
    }

    function test_Answer_RevertWhen_AChunkHasAnotherLength() public {
        (Evidence memory e, uint256 id) = _asked(0, 3);
        bytes memory path = e.model.path(0, 3);
        uint256[4] memory lengths = [uint256(0), 512, 1023, 1025];
        for (uint256 i = 0; i < lengths.length; ++i) {
            _expectAnswerRefused(
                id,
                new bytes(lengths[i]),
                path,
                abi.encodeWithSelector(ChunkTree.WrongChunkLength.selector, lengths[i])
            );
        }
    }

    function test_Answer_RevertWhen_ThePathHasAnotherLength() public {
        (Evidence memory e, uint256 id) = _asked(4, 63);
        bytes memory content = e.model.content(4, 63);
        uint256[4] memory lengths = [uint256(0), 5 * 32, 6 * 32 - 1, 7 * 32];
        for (uint256 i = 0; i < lengths.length; ++i) {
            _expectAnswerRefused(
                id,
                content,
                new bytes(lengths[i]),
                abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, lengths[i])
            );
        }
    }

    function test_Answer_RevertWhen_ANodeIsAnother() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        for (uint256 i = 0; i < 64; i += 9) {
            bytes memory content = e.model.content(10, 0);
            content[32 * i + 31] ^= 0x01;
            _expectWrongAnswer(id, content, "");
        }
        id = _demand(1, 0, 3);
        bytes memory chunk = e.model.content(0, 3);
        chunk[1023] ^= 0x01;
        _expectWrongAnswer(id, chunk, e.model.path(0, 3));
    }

    function test_Answer_RevertWhen_ASiblingIsAnother() public {
        (Evidence memory e, uint256 id) = _asked(7, 5);
        for (uint256 level = 0; level < 3; ++level) {
            bytes memory path = e.model.path(7, 5);
            path[32 * level] ^= 0x80;
            _expectWrongAnswer(id, e.model.content(7, 5), path);
        }
    }

    function test_Answer_RevertWhen_ItIsOfAnotherPlace() public {
        (Evidence memory e, uint256 id) = _asked(7, 0);
        _expectWrongAnswer(id, e.model.content(7, 7), e.model.path(7, 7));
        // What is shown of the base is no answer.
        _expectWrongAnswer(id, e.base.content(7, 0), e.base.path(7, 0));
    }

    function test_Answer_WhenTheNodeIsMoreThanSixLevelsUp() public {
        for (uint8 level = 6; level <= 10; ++level) {
            (Evidence memory e, uint256 id) = _asked(level, (1 << (10 - level)) - 1);
            assertEq(e.model.content(level, 0).length, 64 * 32);
            _answer(id, e.model);
        }
    }

    function test_Answer_WhenTheNodeIsFewerThanSixLevelsUp() public {
        (Evidence memory e,) = _asked(1, 0);
        _answer(1, e.model);
        for (uint8 level = 2; level < 6; ++level) {
            assertEq(e.model.content(level, 0).length, 32 << level);
            _answer(_demand(1, level, 1), e.model);
        }
    }

    function test_Answer_WhenTheNodeIsAChunk() public {
        (Evidence memory e, uint256 id) = _asked(0, 1023);
        assertEq(_window(e).openDescents, 1);
        _answer(id, e.model);
        assertTrue(disputes.demandById(id).ended);
        assertEq(_window(e).openDescents, 0);
    }

    function test_Answer_WhenTheDemanderAnswers() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        bytes memory content = e.model.content(10, 0);
        vm.prank(watcher);
        disputes.answer(id, content, "");
        assertEq(disputes.demandById(id).answerer, watcher);
    }

    function test_Answer_WhenAnybodyAnswersInTime() public {
        (Evidence memory e, uint256 id) = _asked(7, 5);
        skip(ANSWER_PERIOD / 2);
        vm.expectEmit(address(disputes));
        emit IDisputes.Answered(1, id, stranger, e.model.content(7, 5));
        _answer(id, e.model);
        Demand memory asked = disputes.demandById(id);
        assertEq(asked.answerer, stranger);
        assertEq(asked.until, block.timestamp + ANSWER_PERIOD);
        assertFalse(asked.ended);
        assertEq(_window(e).openDescents, 1);
    }

    // ------------------------------------------------------------------ expire

    function test_Expire_RevertWhen_ThereIsNoSuchDemand() public {
        Evidence memory e = _acceptRight();
        _expectExpireRefused(1, e, abi.encodePacked(IDisputes.UnknownDemand.selector));
    }

    function test_Expire_RevertWhen_TheRoundIsOrphaned() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        uint256 other = _demand(1, 10, 0);
        skip(ANSWER_PERIOD);
        disputes.expire(other, e.result);
        _expectExpireRefused(id, e, abi.encodePacked(IDisputes.RoundNotAlive.selector));
    }

    function test_Expire_RevertWhen_ItIsAnswered() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        _answer(id, e.model);
        skip(ANSWER_PERIOD);
        _expectExpireRefused(id, e, abi.encodePacked(IDisputes.AlreadyAnswered.selector));
    }

    function test_Expire_RevertWhen_ThereIsTimeToAnswer() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        uint256 until = disputes.demandById(id).until;
        vm.warp(until - 1);
        _expectExpireRefused(id, e, abi.encodeWithSelector(IDisputes.NotOverdue.selector, until));
    }

    function test_Expire_RevertWhen_TheResultIsNotTheAcceptedOneOfTheRound() public {
        _toAttest(3);
        Evidence memory other = _proposeWrong(1);
        Evidence memory e = _evidence();
        _sign(e, AGGREGATORS);
        uint256 id = _demand(1, 10, 0);
        Evidence memory next = _acceptRight();
        skip(ANSWER_PERIOD);
        bytes memory reason = abi.encodePacked(IFederation.UnknownResult.selector);
        _expectExpireRefused(id, other, reason);
        _expectExpireRefused(id, next, reason);
        ++e.result.included;
        _expectExpireRefused(id, e, reason);
        --e.result.included;
        disputes.expire(id, e.result);
    }

    function test_Expire_RevertWhen_TheWindowIsOver() public {
        (Evidence memory e, uint256 id) = _asked(10, 0);
        uint256 finalAt = _window(e).finalAt;
        uint256 state = vm.snapshotState();
        vm.warp(finalAt - 1);
        disputes.expire(id, e.result);
        vm.revertToState(state);
        vm.warp(finalAt);
        _expectExpireRefused(id, e, abi.encodeWithSelector(IDisputes.DisputeWindowClosed.selector, finalAt));
    }

    /// @dev Whoever signs, owes the answers.
    function test_Expire_WhenARightResultWasNotShown() public {
        (Evidence memory e, uint256 id) = _asked(0, 0);
        skip(ANSWER_PERIOD);
        disputes.expire(id, e.result);
        _slash(e, 0);
        assertEq(_aggregatorStake(0), 0);
    }

    function test_Expire_WhenNobodyAnswered() public {
        Evidence memory e = _acceptWrong();
        uint256 id = _demand(1, 10, 0);
        vm.warp(disputes.demandById(id).until);
        vm.expectEmit(address(disputes));
        emit IDisputes.FraudProven(1, _digest(e), watcher);
        vm.expectEmit(address(disputes));
        emit IDisputes.RoundRevoked(1, 1);
        vm.prank(stranger);
        disputes.expire(id, e.result);
        assertHead(0, 0);
        assertEq(disputes.fraud(_digest(e)).challenger, watcher);
        _slash(e, 3);
        assertEq(_creditOf(watcher), STAKE / 2);
    }

    // ------------------------------------------------------------------ steps

    function _asked(uint8 level, uint256 index) private returns (Evidence memory e, uint256 id) {
        e = _acceptRight();
        id = _demand(uint32(e.result.round), level, index);
    }

    // ------------------------------------------------------------------ expectations

    function _expectAnswerRefused(uint256 id, bytes memory content, bytes memory path, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        disputes.answer(id, content, path);
    }

    /// @dev Of a node whose path is of no importance yet.
    function _expectWrongLength(uint256 id, bytes memory content) private {
        bytes memory reason = abi.encodeWithSelector(ChunkTree.WrongProofLength.selector, content.length);
        _expectAnswerRefused(id, content, "", reason);
    }

    function _expectWrongAnswer(uint256 id, bytes memory content, bytes memory path) private {
        _expectAnswerRefused(id, content, path, abi.encodePacked(IDisputes.WrongAnswer.selector));
    }

    function _expectExpireRefused(uint256 id, Evidence memory e, bytes memory reason) private {
        vm.expectRevert(reason);
        disputes.expire(id, e.result);
    }
}
