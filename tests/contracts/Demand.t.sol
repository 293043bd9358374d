// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Params} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See Demand.tree. The tree has 10 levels: from the root to level 4, and to a chunk.
contract DemandTest is DisputeTest {
    using Vectors for Vector;

    // ------------------------------------------------------------------ demand

    function test_Demand_RevertWhen_TheRoundIsNotCanonical() public {
        _expectNotAlive(0);
        _expectNotAlive(1);
        _toAttest(3);
        _proposeWrong(2);
        _expectNotAlive(1);
        _endPhase();
        Evidence memory e = _acceptWrong();
        _expectNotAlive(1);
        _expectNotAlive(3);
        _challenge(e);
        _expectNotAlive(2);
    }

    function test_Demand_RevertWhen_TheWindowIsOver() public {
        Evidence memory e = _acceptRight();
        uint256 end = _window(e).windowEnd;
        uint256 state = vm.snapshotState();
        _expectWindowOver(end);
        vm.revertToState(state);
        _demand(1, 0, 0);
        assertGt(_window(e).finalAt, end);
        _expectWindowOver(end);
    }

    /// @dev At its end, and any time later.
    function _expectWindowOver(uint256 end) private {
        bytes memory reason = abi.encodeWithSelector(IDisputes.DisputeWindowClosed.selector, end);
        vm.warp(end);
        _expectDemandRefused(1, 0, 0, reason);
        vm.warp(end + 1 days);
        _expectDemandRefused(1, 0, 0, reason);
    }

    function test_Demand_RevertWhen_TheLevelIsAboveTheRoot() public {
        _acceptRight();
        uint8[2] memory levels = [11, 255];
        for (uint256 i = 0; i < levels.length; ++i) {
            bytes memory reason = abi.encodeWithSelector(IDisputes.NoSuchNode.selector, levels[i], 0);
            _expectDemandRefused(1, levels[i], 0, reason);
        }
    }

    function test_Demand_RevertWhen_TheIndexIsOutsideOfTheLevel() public {
        _acceptRight();
        for (uint8 level = 0; level <= 10; ++level) {
            uint256 count = 1 << (10 - level);
            _expectNoSuchNode(level, count);
            _expectNoSuchNode(level, type(uint256).max);
            _demand(1, level, count - 1);
        }
    }

    function test_Demand_RevertWhen_LessThanTheBondIsPaid() public {
        _acceptRight();
        vm.deal(watcher, 1 ether);
        for (uint256 open = 0; open < 3; ++open) {
            uint256 bond = BOND * (1 + open);
            vm.expectRevert(abi.encodeWithSelector(IDisputes.BondTooLow.selector, bond - 1, bond));
            vm.prank(watcher);
            disputes.demand{value: bond - 1}(1, 0, 0);
            _demand(1, 0, 0);
        }
    }

    function test_Demand_RevertWhen_TheBondDoesNotFit96Bits() public {
        Params memory p = _consortium();
        p.demandBond = 2 ** 95;
        _start(p);
        _acceptRight();
        _demandFor(2 ** 95, 1, 0, 0);
        vm.deal(watcher, 2 ** 97);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.BondTooLow.selector, 2 ** 97, 2 ** 96));
        vm.prank(watcher);
        disputes.demand{value: 2 ** 97}(1, 0, 0);
    }

    function test_Demand_WhenTheBondJustFits96Bits() public {
        Params memory p = _consortium();
        p.demandBond = type(uint96).max;
        _start(p);
        _acceptRight();
        uint256 id = _demandFor(type(uint96).max, 1, 0, 0);
        assertEq(disputes.demandById(id).bond, type(uint96).max);
    }

    function test_Demand_WhenMoreThanTheBondIsPaid() public {
        _acceptRight();
        vm.expectEmit(address(federation));
        emit IFederation.Credited(1, watcher, 3);
        uint256 id = _demandFor(BOND + 3, 1, 0, 0);
        assertEq(disputes.demandById(id).bond, BOND);
        assertEq(_creditOf(watcher), 3);
    }

    function test_Demand_WhenTheWindowIsAlmostOver() public {
        Evidence memory e = _acceptRight();
        uint256 end = _window(e).windowEnd;
        vm.warp(end - 1);
        _demand(1, 10, 0);
        assertEq(_window(e).finalAt, end + 2 * ANSWER_PERIOD * (2 + 2));
    }

    /// @dev For every depth: twice the answer period for each step and two more.
    function test_Demand_WhenItIsTheFirstOfTheRound() public {
        uint8[7] memory depths = [0, 1, 6, 7, 12, 13, 21];
        uint8[7] memory steps = [2, 3, 3, 4, 4, 5, 6];
        for (uint256 i = 0; i < depths.length; ++i) {
            Params memory p = _consortium();
            p.depth = depths[i];
            _start(p);
            Evidence memory e = _acceptRight();
            uint256 until = uint256(_window(e).windowEnd) + 2 * ANSWER_PERIOD * steps[i];
            vm.expectEmit(address(disputes));
            emit IDisputes.FinalityExtended(1, until);
            _demand(1, 0, 0);
            assertEq(_window(e).finalAt, until);
            assertEq(_observe().finalizableAt, until);
            vm.warp(until - 1);
            vm.expectRevert(IFederation.NotFinalizable.selector);
            federation.finalize();
            vm.warp(until);
            federation.finalize();
        }
    }

    function test_Demand_WhenItIsNotTheFirstOfTheRound() public {
        Evidence memory e = _acceptRight();
        _answer(_demand(1, 0, 0), e.model);
        uint256 finalAt = _window(e).finalAt;
        vm.warp(_window(e).windowEnd - 1);
        vm.recordLogs();
        _demand(1, 0, 0);
        assertEq(vm.getRecordedLogs().length, 1);
        assertEq(_window(e).finalAt, finalAt);
    }

    function test_Demand_WhenDescentsAreOpen() public {
        Evidence memory e = _acceptRight();
        for (uint256 open = 0; open < 4; ++open) {
            assertEq(_window(e).openDescents, open);
            assertEq(disputes.demandById(_demand(1, 10, 0)).bond, BOND * (1 + open));
        }
        // Those of another round do not count.
        _acceptRight();
        assertEq(disputes.demandById(_demand(2, 10, 0)).bond, BOND);
    }

    function test_Demand_WhenTheNodeIsDemandedAlready() public {
        Evidence memory e = _acceptRight();
        uint256 first = _demand(1, 7, 3);
        uint256 second = _demand(1, 7, 3);
        assertEq(second, first + 1);
        _answer(first, e.model);
        assertEq(disputes.demandById(second).answerer, address(0));
        skip(ANSWER_PERIOD);
        disputes.expire(second, e.result);
        assertHead(0, 0);
    }

    function test_Demand_WhenTheModelHasOneChunk() public {
        Params memory p = _consortium();
        p.depth = 0;
        _start(p);
        Evidence memory e = _acceptRight();
        _expectNoSuchNode(1, 0);
        _expectNoSuchNode(0, 1);
        uint256 id = _demand(1, 0, 0);
        _answer(id, e.model);
        assertEq(_window(e).openDescents, 0);
    }

    function test_Demand_WhenTheBondIsPaid() public {
        _acceptRight();
        _demand(1, 0, 0);
        vm.expectEmit(address(disputes));
        emit IDisputes.Demanded(1, 2, watcher, 7, 5, 0, 2 * BOND, block.timestamp + ANSWER_PERIOD);
        assertEq(_demand(1, 7, 5), 2);
        Demand memory asked = disputes.demandById(2);
        assertEq(asked.demander, watcher);
        assertEq(asked.bond, 2 * BOND);
        assertEq(asked.answerer, address(0));
        assertEq(asked.until, block.timestamp + ANSWER_PERIOD);
        assertEq(asked.round, 1);
        assertEq(asked.level, 7);
        assertEq(asked.index, 5);
        assertFalse(asked.ended);
        assertEq(disputes.demandById(3).demander, address(0));
    }

    // ------------------------------------------------------------------ descend

    function test_Descend_RevertWhen_ThereIsNoSuchDemand() public {
        uint256[3] memory ids = [uint256(0), 1, type(uint256).max];
        for (uint256 i = 0; i < ids.length; ++i) {
            vm.expectRevert(IDisputes.UnknownDemand.selector);
            disputes.descend(ids[i], 0);
        }
    }

    function test_Descend_RevertWhen_TheRoundIsOrphaned() public {
        Evidence memory e = _acceptWrong();
        uint256 id = _demand(1, 10, 0);
        _answer(id, e.model);
        _challenge(e);
        _expectDescendRefused(id, 0, abi.encodePacked(IDisputes.RoundNotAlive.selector));
    }

    function test_Descend_RevertWhen_TheSenderIsNotTheDemander() public {
        (, uint256 id) = _answered();
        address[2] memory others = [address(1), address(type(uint160).max)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.deal(others[i], BOND);
            vm.expectRevert(IDisputes.NotDemander.selector);
            vm.prank(others[i]);
            disputes.descend{value: BOND}(id, 0);
        }
    }

    function test_Descend_RevertWhen_TheDemandIsNotAnswered() public {
        _acceptRight();
        uint256 id = _demand(1, 10, 0);
        _expectDescendRefused(id, 0, abi.encodePacked(IDisputes.NotAnswered.selector));
    }

    function test_Descend_RevertWhen_ItIsTooLate() public {
        (, uint256 id) = _answered();
        uint256 state = vm.snapshotState();
        skip(ANSWER_PERIOD);
        _expectDescentEnded(id, 0);
        skip(1 days);
        _expectDescentEnded(id, 0);
        vm.revertToState(state);
        skip(ANSWER_PERIOD - 1);
        _descend(id, 0);
    }

    function test_Descend_RevertWhen_TheDescentWentOn() public {
        (, uint256 id) = _answered();
        _descend(id, 0);
        _expectDescentEnded(id, 1);
    }

    function test_Descend_RevertWhen_TheDescentIsClosed() public {
        (, uint256 id) = _answered();
        skip(ANSWER_PERIOD);
        disputes.closeDescent(id);
        _expectDescentEnded(id, 0);
    }

    function test_Descend_RevertWhen_AChunkWasShown() public {
        Evidence memory e = _acceptRight();
        uint256 id = _demand(1, 0, 3);
        _answer(id, e.model);
        _expectDescentEnded(id, 3);
    }

    function test_Descend_RevertWhen_TheNodeWasNotShown() public {
        Evidence memory e = _acceptRight();
        // The nodes 128 to 191 of level 1, six levels below.
        uint256 id = _demand(1, 7, 2);
        _answer(id, e.model);
        uint256[5] memory indices = [uint256(0), 2, 127, 192, type(uint256).max];
        for (uint256 i = 0; i < indices.length; ++i) {
            _expectDescendRefused(
                id, indices[i], abi.encodeWithSelector(IDisputes.NotBelow.selector, indices[i])
            );
        }
        uint256 state = vm.snapshotState();
        _descend(id, 128);
        vm.revertToState(state);
        _descend(id, 191);
    }

    function test_Descend_RevertWhen_TheBondIsNotPaid() public {
        (, uint256 id) = _answered();
        vm.deal(watcher, BOND);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.BondTooLow.selector, BOND - 1, BOND));
        vm.prank(watcher);
        disputes.descend{value: BOND - 1}(id, 0);
    }

    function test_Descend_WhenMoreIsPaidThanTheBond() public {
        (, uint256 id) = _answered();
        vm.deal(watcher, 1 ether);
        vm.expectEmit(address(federation));
        emit IFederation.Credited(1, watcher, 1 ether - BOND);
        vm.prank(watcher);
        uint256 next = disputes.descend{value: 1 ether}(id, 0);
        assertEq(disputes.demandById(next).bond, BOND);
        assertEq(_creditOf(watcher), 1 ether - BOND);
    }

    function test_Descend_WhenOtherDescentsHaveBegun() public {
        (Evidence memory e, uint256 id) = _answered();
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(disputes.demandById(_demand(1, 0, 0)).bond, BOND * (2 + i));
        }
        id = _descend(id, 0);
        assertEq(disputes.demandById(id).bond, BOND);
        // And one that was dear stays dear, though the others are over.
        for (uint256 i = 2; i <= 4; ++i) {
            _answer(i, e.model);
        }
        assertEq(_window(e).openDescents, 1);
        uint256 dear = _demand(1, 10, 0);
        assertEq(disputes.demandById(dear).bond, 2 * BOND);
    }

    function test_Descend_WhenTheWindowHasEnded() public {
        Evidence memory e = _acceptRight();
        vm.warp(_window(e).windowEnd - 1);
        uint256 id = _demand(1, 10, 0);
        skip(ANSWER_PERIOD - 1);
        _answer(id, e.model);
        skip(ANSWER_PERIOD - 1);
        assertGt(block.timestamp, _window(e).windowEnd);
        id = _descend(id, 63);
        assertEq(disputes.demandById(id).level, 4);
    }

    function test_Descend_WhenItIsTheDemanderInTime() public {
        (Evidence memory e, uint256 first) = _answered();
        skip(10);
        vm.expectEmit(address(disputes));
        emit IDisputes.Demanded(1, first + 1, watcher, 4, 63, first, BOND, block.timestamp + ANSWER_PERIOD);
        uint256 second = _descend(first, 63);
        assertTrue(disputes.demandById(first).ended);
        Demand memory asked = disputes.demandById(second);
        assertEq(asked.demander, watcher);
        assertEq(asked.bond, BOND);
        assertEq(asked.answerer, address(0));
        assertEq(asked.until, block.timestamp + ANSWER_PERIOD);
        assertEq(asked.round, 1);
        assertEq(asked.level, 4);
        assertEq(asked.index, 63);
        assertFalse(asked.ended);
        assertEq(_window(e).openDescents, 1);

        _answer(second, e.model);
        uint256 third = _descend(second, 1023);
        assertEq(disputes.demandById(third).level, 0);
        assertEq(disputes.demandById(third).index, 1023);
        _answer(third, e.model);
        assertEq(_window(e).openDescents, 0);
    }

    // ------------------------------------------------------------------ steps

    /// @dev A demand for the root, answered in the second after it.
    function _answered() private returns (Evidence memory e, uint256 id) {
        e = _acceptRight();
        id = _demand(1, 10, 0);
        skip(1);
        _answer(id, e.model);
    }

    // ------------------------------------------------------------------ expectations

    function _expectDemandRefused(uint32 round, uint8 level, uint256 index, bytes memory reason) private {
        uint256 bond = _bond(round);
        vm.deal(watcher, bond);
        vm.expectRevert(reason);
        vm.prank(watcher);
        disputes.demand{value: bond}(round, level, index);
    }

    function _expectNotAlive(uint32 round) private {
        _expectDemandRefused(round, 0, 0, abi.encodePacked(IDisputes.RoundNotAlive.selector));
    }

    function _expectNoSuchNode(uint8 level, uint256 index) private {
        _expectDemandRefused(
            1, level, index, abi.encodeWithSelector(IDisputes.NoSuchNode.selector, level, index)
        );
    }

    function _expectDescendRefused(uint256 id, uint256 index, bytes memory reason) private {
        vm.deal(watcher, BOND);
        vm.expectRevert(reason);
        vm.prank(watcher);
        disputes.descend{value: BOND}(id, index);
    }

    function _expectDescentEnded(uint256 id, uint256 index) private {
        _expectDescendRefused(id, index, abi.encodePacked(IDisputes.DescentEnded.selector));
    }
}
