// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Params} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";

/// @notice See Bonds.tree.
contract BondsTest is DisputeTest {
    // ------------------------------------------------------------------ closeDescent

    function test_CloseDescent_RevertWhen_TheDemandDoesNotExist() public {
        vm.expectRevert(IDisputes.UnknownDemand.selector);
        disputes.closeDescent(1);
    }

    function test_CloseDescent_RevertWhen_NobodyAnswered() public {
        _acceptRight();
        uint256 id = _demand(1, 10, 0);
        skip(ANSWER_PERIOD);
        vm.expectRevert(IDisputes.NotAnswered.selector);
        disputes.closeDescent(id);
    }

    function test_CloseDescent_RevertWhen_ItWentOnWasClosedOrShowedAChunk() public {
        (Evidence memory e, uint256 id) = _answered();
        uint256 chunk = _demand(1, 0, 0);
        _answer(chunk, e.model);
        uint256 left = _demand(1, 10, 0);
        _answer(left, e.model);
        _descend(id, 0);
        skip(ANSWER_PERIOD);
        disputes.closeDescent(left);
        assertEq(_window(e).openDescents, 1);
        uint256[3] memory ids = [id, chunk, left];
        for (uint256 i = 0; i < ids.length; ++i) {
            vm.expectRevert(IDisputes.DescentEnded.selector);
            disputes.closeDescent(ids[i]);
        }
    }

    function test_CloseDescent_RevertWhen_ItMayGoOn() public {
        (, uint256 id) = _answered();
        uint256 until = disputes.demandById(id).until;
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.NotOverdue.selector, until));
        disputes.closeDescent(id);
    }

    function test_CloseDescent_WhenItWasLeftForTooLong() public {
        (Evidence memory e, uint256 id) = _answered();
        skip(ANSWER_PERIOD);
        uint256 state = vm.snapshotState();
        skip(1 days);
        disputes.closeDescent(id);
        vm.revertToState(state);
        assertEq(_bond(1), 2 * BOND);
        vm.expectEmit(address(disputes));
        emit IDisputes.DescentClosed(1, id);
        vm.prank(stranger);
        disputes.closeDescent(id);
        assertTrue(disputes.demandById(id).ended);
        assertEq(_window(e).openDescents, 0);
        assertEq(disputes.demandById(_demand(1, 0, 0)).bond, BOND);
    }

    // ------------------------------------------------------------------ settleBond

    function test_SettleBond_RevertWhen_ThereIsNoSuchDemand() public {
        vm.expectRevert(IDisputes.UnknownDemand.selector);
        disputes.settleBond(1);
    }

    function test_SettleBond_RevertWhen_ItIsSettled() public {
        (Evidence memory e, uint256 id) = _asked();
        _makeFinal(e);
        disputes.settleBond(id);
        assertEq(disputes.demandById(id).demander, address(0));
        vm.expectRevert(IDisputes.UnknownDemand.selector);
        disputes.settleBond(id);
        vm.expectRevert(IDisputes.UnknownDemand.selector);
        disputes.closeDescent(id);
    }

    function test_SettleBond_RevertWhen_TheRoundIsNotFinal() public {
        (Evidence memory e, uint256 id) = _asked();
        _answer(id, e.model);
        vm.warp(_window(e).finalAt);
        vm.expectRevert(IFederation.NotFinal.selector);
        disputes.settleBond(id);
        federation.finalize();
        disputes.settleBond(id);
    }

    function test_SettleBond_WhenTheRoundIsFinalAndTheDemandWasAnswered() public {
        Params memory p = _consortium();
        p.demandBond = 101;
        _start(p);
        Evidence memory e = _acceptRight();
        uint256 id = _demandFor(101, 1, 10, 0);
        _answer(id, e.model);
        vm.prank(watcher);
        vm.deal(watcher, 101);
        uint256 next = disputes.descend{value: 101}(id, 0);
        _answer(next, e.model);
        _makeFinal(e);
        vm.expectEmit(address(disputes));
        emit IDisputes.BondSettled(1, id, stranger, 50);
        vm.expectEmit(address(federation));
        emit IFederation.Credited(1, stranger, 50);
        disputes.settleBond(id);
        disputes.settleBond(next);
        assertEq(_creditOf(stranger), 100);
        assertEq(_creditOf(watcher), 0);
    }

    function test_SettleBond_WhenTheRoundIsFinalAndTheDemandWasNotAnswered() public {
        Params memory p = _consortium();
        p.demandBond = 101;
        _start(p);
        Evidence memory e = _acceptRight();
        uint256 id = _demandFor(101, 1, 10, 0);
        _makeFinal(e);
        vm.expectEmit(address(disputes));
        emit IDisputes.BondSettled(1, id, watcher, 50);
        vm.prank(stranger);
        disputes.settleBond(id);
        assertEq(_creditOf(watcher), 50);
    }

    function test_SettleBond_WhenTheRoundIsOrphaned() public {
        Evidence memory e = _acceptWrong();
        uint256 answered = _demand(1, 10, 0);
        uint256 open = _demand(1, 10, 0);
        _answer(answered, e.model);
        _challenge(e);
        vm.expectEmit(address(disputes));
        emit IDisputes.BondSettled(1, answered, watcher, BOND);
        disputes.settleBond(answered);
        disputes.settleBond(open);
        assertEq(_creditOf(watcher), 3 * BOND);
        assertEq(_creditOf(stranger), 0);
    }

    function test_SettleBond_WhenTheRoundDiedWithAnother() public {
        Evidence memory wrong = _acceptWrong();
        Evidence memory right = _acceptRight();
        uint256 id = _demand(2, 10, 0);
        _answer(id, right.model);
        _challenge(wrong);
        // The history has grown again.
        _acceptRight();
        _acceptRight();
        assertHead(2, 4);
        disputes.settleBond(id);
        assertEq(_creditOf(watcher), BOND);
    }

    // ------------------------------------------------------------------ steps

    function _answered() private returns (Evidence memory e, uint256 id) {
        (e, id) = _asked();
        _answer(id, e.model);
    }

    /// @dev A demand for the root.
    function _asked() private returns (Evidence memory e, uint256 id) {
        e = _acceptRight();
        id = _demand(1, 10, 0);
    }

    function _makeFinal(Evidence memory e) private {
        vm.warp(_window(e).finalAt);
        federation.finalize();
    }
}
