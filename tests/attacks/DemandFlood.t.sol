// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice An attacker demands everything at once, so that honest signers miss one and lose their stake, or so that
/// no watcher can afford a demand any more.
contract DemandFloodTest is DisputeTest {
    uint256 internal constant FLOOD = 20;

    /// @dev The bond of the n-th open descent is n times the first's: twenty at once take 210 bonds. Honest signers
    /// answer every one; half of the flood's bonds is theirs, the other half burnt.
    function test_a_flood_of_demands_costs_its_square() public {
        Evidence memory e = _acceptRight();
        uint256 paid = 0;
        for (uint256 i = 0; i < FLOOD; ++i) {
            paid += _bond(1);
            _demand(1, rules.depth, 0);
        }
        assertEq(paid, BOND * FLOOD * (FLOOD + 1) / 2);
        for (uint256 id = 1; id <= FLOOD; ++id) {
            _answer(id, e.model);
        }

        vm.warp(_observe().finalizableAt);
        federation.finalize();
        for (uint256 id = 1; id <= FLOOD; ++id) {
            disputes.settleBond(id);
        }
        assertEq(_creditOf(stranger), paid / 2, "who answered");
        assertEq(_creditOf(watcher), 0, "who flooded");
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            assertEq(_aggregatorStake(i), STAKE);
        }
    }

    function test_a_demand_below_its_price_is_refused() public {
        _acceptRight();
        _demand(1, rules.depth, 0);
        vm.deal(watcher, BOND);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.BondTooLow.selector, BOND, 2 * BOND));
        vm.prank(watcher);
        disputes.demand{value: BOND}(1, rules.depth, 0);
    }

    /// @dev A cartel floods its own wrong result, and answers itself, to price the watcher out. The watcher's one
    /// demand costs 21 bonds, which it gets back; the cartel loses its stake.
    function test_a_flood_does_not_keep_the_watcher_out() public {
        Evidence memory e = _acceptWrong();
        address cartel = makeAddr("cartel");
        for (uint256 i = 0; i < FLOOD; ++i) {
            uint256 bond = _bond(1);
            vm.deal(cartel, bond);
            vm.prank(cartel);
            _answer(disputes.demand{value: bond}(1, rules.depth, 0), e.model);
        }
        uint256 id = _demand(1, 0, WRONG / 256);
        assertEq(disputes.demandById(id).bond, (FLOOD + 1) * BOND);
        vm.warp(disputes.demandById(id).until);
        disputes.expire(id, e.result);
        _slash(e, 0);
        disputes.settleBond(id);
        assertEq(_creditOf(watcher), (FLOOD + 1) * BOND + STAKE / 2);
    }

    /// @dev A cartel floods its own result and answers nothing, so that a demand costs 21 bonds. Where anybody is there,
    /// the first that is overdue convicts it, for no bond at all; where nobody is, half of the bonds is lost.
    function test_a_flood_that_nobody_answers_is_not_free() public {
        Evidence memory e = _acceptWrong();
        uint256 paid = 0;
        for (uint256 i = 0; i < FLOOD; ++i) {
            paid += _bond(1);
            _demand(1, rules.depth, 0);
        }
        skip(ANSWER_PERIOD);
        uint256 state = vm.snapshotState();
        vm.prank(stranger);
        disputes.expire(1, e.result);
        assertHead(0, 0);
        vm.revertToState(state);

        vm.warp(_observe().finalizableAt);
        federation.finalize();
        for (uint256 id = 1; id <= FLOOD; ++id) {
            disputes.settleBond(id);
        }
        assertEq(_creditOf(watcher), paid / 2);
    }

    /// @dev An attacker is mined before the watcher, to raise its bond: the watcher has sent more than is due, and is
    /// credited with the rest.
    function test_a_front_run_demand_does_not_block_the_watchers() public {
        _acceptRight();
        vm.deal(stranger, BOND);
        vm.prank(stranger);
        disputes.demand{value: BOND}(1, 0, 0);
        uint256 id = _demandFor(5 * BOND, 1, rules.depth, 0);
        assertEq(disputes.demandById(id).bond, 2 * BOND);
        assertEq(_creditOf(watcher), 3 * BOND);
    }

    /// @dev The gas of an attacker's thirtieth demand, and of the answer to it, is that of its second.
    function test_a_demand_costs_the_same_gas_among_few_and_many() public {
        Evidence memory e = _acceptRight();
        _demand(1, rules.depth, 0);
        (uint256 demanded, uint256 answered) = _costOfDemand(e);
        for (uint256 i = 0; i < 27; ++i) {
            _demand(1, rules.depth, 0);
        }
        (uint256 demandedLast, uint256 answeredLast) = _costOfDemand(e);
        assertApproxEqAbs(demandedLast, demanded, 100);
        assertApproxEqAbs(answeredLast, answered, 100);
    }

    function _costOfDemand(Evidence memory e) private returns (uint256 demanded, uint256 answered) {
        uint256 bond = _bond(1);
        vm.deal(watcher, bond);
        vm.prank(watcher);
        uint256 id = disputes.demand{value: bond}(1, rules.depth, 0);
        demanded = vm.lastCallGas().gasTotalUsed;
        _answer(id, e.model);
        answered = vm.lastCallGas().gasTotalUsed;
    }
}
