// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Somebody acts as late as it may in every phase, to keep a round from ending (G7).
contract StalledRoundTest is FederationTest {
    /// @dev Every phase has a deadline that no call moves: with nobody doing anything but one late call each,
    /// the round is over in time.
    function test_a_late_call_never_extends_a_phase() public {
        _openRound();
        uint256 revealEnd = _current().revealEnd;
        uint256 attestEnd = _current().attestEnd;
        vm.warp(_current().commitEnd - 1);
        _commit(0);
        _commit(1);
        assertEq(_current().revealEnd, revealEnd);
        vm.warp(revealEnd - 1);
        _reveal(_update(0));
        _reveal(_update(1));
        assertEq(_current().revealEnd, block.timestamp);
        assertLe(_current().attestEnd, attestEnd);
        vm.warp(_current().attestEnd - 1);
        _attest(_result(), 1);
        vm.warp(_current().attestEnd);
        assertPhase(Phase.Void);
        _toAccepted(3);
    }

    /// @dev Whoever opens too late for the hash gets another block, again and again; one timely call opens.
    function test_delaying_the_seed_gains_nothing_but_time() public {
        federation.openRound();
        for (uint256 i = 0; i < 3; ++i) {
            vm.roll(_current().seedBlock + 300);
            federation.openRound();
            assertPhase(Phase.Seeding);
            assertEq(_round(), 1);
        }
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        assertPhase(Phase.Commit);
    }

    /// @dev Committed or not, revealed or not: a round in which nobody acts any more is void at its deadline,
    /// and whoever comes opens the next one.
    function test_a_round_abandoned_in_any_phase_is_followed_by_the_next() public {
        for (uint256 abandoned = 0; abandoned < 4; ++abandoned) {
            _openRound();
            if (abandoned > 0) _commitFirst(3);
            _endPhase(Phase.Commit);
            if (abandoned > 1) _reveal(_update(0));
            if (abandoned > 2) _reveal(_update(1));
            _endPhase(Phase.Reveal);
            _endPhase(Phase.Attest);
            assertPhase(Phase.Void);
        }
        _toAccepted(3);
        assertEq(_round(), 5);
    }
}
