// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role} from "../../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../support/FederationTest.sol";

/// @notice Accounts are free, stake is not: seats in a crowd follow stake.
contract SybilsTest is FederationTest {
    uint256 internal constant HONEST = 8;
    uint256 internal constant SYBILS = 32;

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

    /// @dev A rush of Sybils that commit junk at once takes only the seats drawn; the phase stays open for the
    /// honest until its deadline.
    function test_sybils_do_not_close_the_round() public {
        for (uint256 i = 0; i < SYBILS; ++i) {
            _register(_party(HONEST + i), Role.Party, MIN_STAKE);
        }
        _openRound();
        for (uint256 i = HONEST; i < HONEST + SYBILS; ++i) {
            bool drawn = federation.observe(_party(i)).drawn;
            if (!drawn) vm.expectRevert(IFederation.NotDrawn.selector);
            vm.prank(_party(i));
            federation.commit("junk");
        }
        assertPhase(Phase.Commit);
        uint256 junk = _current().commits;
        uint256 honest = 0;
        for (uint256 i = 0; i < HONEST; ++i) {
            if (!federation.observe(_party(i)).drawn) continue;
            _commit(i);
            ++honest;
        }
        assertEq(_current().commits, junk + honest);
        assertLt(junk, 12);
        assertPhase(Phase.Commit);
    }

    /// @dev Junk costs its stake when it is not revealed: ten per cent of every seat taken.
    function test_junk_commits_cost_stake() public {
        for (uint256 i = 0; i < SYBILS; ++i) {
            _register(_party(HONEST + i), Role.Party, 20 ether);
        }
        _openRound();
        uint256 junk = 0;
        for (uint256 i = HONEST; i < HONEST + SYBILS && junk < 3; ++i) {
            if (!federation.observe(_party(i)).drawn) continue;
            vm.prank(_party(i));
            federation.commit("junk");
            ++junk;
        }
        assertEq(junk, 3);
        _endPhase();
        _endPhase();
        uint256 slashed = 0;
        for (uint256 i = HONEST; i < HONEST + SYBILS; ++i) {
            if (federation.observe(_party(i)).unrevealedSlashable) federation.slashUnrevealed(_party(i));
            slashed += 20 ether - _stakeOf(_party(i));
        }
        assertEq(slashed, 3 * 2 ether);
    }

    /// @dev An account that leaves and one that joins in the same round do not vote twice with one stake.
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
