// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: one aggregator wants a lock with one honest party among its friends, so that the opened sum shows
/// what that party has sent.
/// @dev Nobody proposes a lock. Each update is locked by those who hold it, and one of four can neither add to what the
/// others hold nor take away from it.
contract PrivateIsolatingLockAttack is PrivateTest {
    /// @dev The victim is the party at place 0, and the friends are at 3 and 4.
    uint128 private constant ISOLATING = 25;

    function test_one_seat_cannot_choose_the_lock() public {
        for (uint256 attacker = 0; attacker < AGGREGATORS; ++attacker) {
            _startClaim(5);
            _claim(attacker, ISOLATING);
            assertEq(_private().locked, 0);
            for (uint256 i = 0; i < AGGREGATORS; ++i) {
                if (i != attacker) _claim(i, 31);
            }
            assertEq(_private().locked, 31);
            assertPhase(Phase.Attest);
            vm.warp(_current().attestEnd);
        }
    }

    function test_a_seat_that_claims_last_cannot_choose_it_either() public {
        _startClaim(5);
        _claimAll(3, 31);
        assertEq(_private().locked, 31);
        _claim(3, ISOLATING);
        assertEq(_private().locked, 31);
    }

    function test_one_seat_that_stays_away_with_one_that_isolates_locks_too_little() public {
        // A third of the stake or more can choose who is locked, but not fewer than a round needs.
        _startClaim(5);
        _claim(0, ISOLATING & 17);
        _claim(1, 31);
        _claim(2, 31);
        vm.warp(_private().claimEnd);
        assertEq(_private().locked, 17);
        assertPhase(Phase.Void);
    }

    /// @dev A quorum in one hand is no coalition that the protocol can hinder: the events say that it was one seat.
    function test_one_seat_with_a_quorum_locks_alone_and_the_claims_show_it() public {
        _use(_deployPrivate(_terms(), _privateTerms()));
        _populate(PARTIES, 0);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _admit(_aggregator(i), Role.Aggregator);
            _register(_aggregator(i), Role.Aggregator, i == 0 ? 7 ether : 1 ether);
        }
        _startClaim(5);
        _claim(0, ISOLATING);
        assertEq(_private().locked, ISOLATING);
        assertEq(_private().claimedSeats, 1);
    }
}
