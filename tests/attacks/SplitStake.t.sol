// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Accounts are free, stake is not: an attacker splits its stake over many accounts, or moves it from one to
/// another, to be drawn more often than its stake is worth.
contract SplitStakeTest is FederationTest {
    uint256 internal constant HONEST = 8;

    function setUp() public override {
        super.setUp();
        federation = _deploy(_crowd());
        _populate(HONEST, 1);
    }

    /// @dev With a fifth of the stake, split over four accounts, an attacker expects a fifth of the seats (the
    /// whole in one account: four fifths of one seat in each round, the same); the honest keep theirs.
    function test_splitting_a_stake_buys_no_seats() public {
        for (uint256 i = 0; i < 4; ++i) {
            _register(_party(HONEST + i), Role.Party, MIN_STAKE);
        }
        uint256 honest = 0;
        uint256 split = 0;
        for (uint256 round = 0; round < 60; ++round) {
            _openRound();
            assertEq(_current().partyStake, HONEST * STAKE + 4 * MIN_STAKE);
            for (uint256 i = 0; i < HONEST + 4; ++i) {
                if (!federation.observe(_party(i)).drawn) continue;
                if (i < HONEST) ++honest;
                else ++split;
            }
            _endPhase();
        }
        // Of 60 x 4 seats, each within five standard deviations.
        assertApproxEqAbs(split, 48, 31);
        assertApproxEqAbs(honest, 192, 54);
    }

    /// @dev A fortune in one account buys one seat for certain, and not a second one.
    function test_a_large_stake_buys_one_seat() public {
        _register(_party(HONEST), Role.Party, 1_000_000 ether);
        _openRound();
        assertTrue(federation.observe(_party(HONEST)).drawn);
        _commit(HONEST);
        assertEq(_current().commits, 1);
    }

    /// @dev An account that leaves and one that joins in the same round are not both drawn by one stake.
    function test_one_stake_is_not_drawn_twice_by_moving_it() public {
        address first = _party(HONEST);
        address second = _party(HONEST + 1);
        _register(first, Role.Party, 100 ether);
        _openRound();
        assertTrue(federation.observe(first).drawn);
        _requestUnbond(first, Role.Party);
        _register(second, Role.Party, 100 ether);
        assertFalse(federation.observe(second).drawn);
        vm.expectPartialRevert(IFederation.StillUnbonding.selector);
        vm.prank(first);
        federation.withdraw(first, Role.Party);
        _endPhase();
        _openRound();
        assertFalse(federation.observe(first).drawn);
        assertTrue(federation.observe(second).drawn);
    }
}
