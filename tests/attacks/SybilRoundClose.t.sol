// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A rush of Sybils commits junk in the first block of a round, so that the round is full before anybody
/// honest comes. Eight honest parties, 32 Sybils.
contract SybilRoundCloseTest is FederationTest {
    uint256 internal constant HONEST = 8;
    uint256 internal constant SYBILS = 32;

    function setUp() public override {
        super.setUp();
        federation = _deploy(_crowd());
        _populate(HONEST, 1);
    }

    /// @dev They take only the seats that they are drawn for; the phase stays open for the honest until its
    /// deadline.
    function test_sybils_do_not_close_the_round() public {
        _registerSybils(MIN_STAKE);
        _openRound();
        for (uint256 i = HONEST; i < HONEST + SYBILS; ++i) {
            bool drawn = federation.observe(_party(i)).drawn;
            if (!drawn) vm.expectRevert(IFederation.NotDrawn.selector);
            vm.prank(_party(i));
            federation.commit(1, "junk");
        }
        assertPhase(Phase.Commit);
        uint256 junk = _current().commits;
        assertGt(junk, 0);
        assertLt(junk, 12);
        uint256 honest = 0;
        for (uint256 i = 0; i < HONEST; ++i) {
            if (!federation.observe(_party(i)).drawn) continue;
            _commit(i);
            ++honest;
        }
        assertEq(_current().commits, junk + honest);
        assertPhase(Phase.Commit);
    }

    /// @dev What is committed and cannot be revealed costs a tenth of the stake of every seat taken.
    function test_junk_commits_cost_stake() public {
        _registerSybils(20 ether);
        _openRound();
        uint256 junk = 0;
        for (uint256 i = HONEST; i < HONEST + SYBILS && junk < 3; ++i) {
            if (!federation.observe(_party(i)).drawn) continue;
            vm.prank(_party(i));
            federation.commit(1, "junk");
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

    function _registerSybils(uint256 stake) private {
        for (uint256 i = HONEST; i < HONEST + SYBILS; ++i) {
            _register(_party(i), Role.Party, stake);
        }
    }
}
