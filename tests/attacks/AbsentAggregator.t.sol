// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Aggregators that are absent, dissent, are dead or leave in the middle of a round, to freeze it (G7).
contract AbsentAggregatorTest is FederationTest {
    /// @dev One of four is absent: nobody waits for it, and it is not paid.
    function test_one_absent_aggregator_stops_nothing_and_earns_nothing() public {
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 3);
        assertPhase(Phase.Accepted);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, _counted(_updates(3)));
        assertEq(federation.observe(_aggregator(0)).credit, REWARD * 2 / 10 / 4);
        assertEq(federation.observe(_aggregator(3)).credit, 0);
    }

    /// @dev One of four is dead, another signs something else: the round has no quorum, and the next one opens at
    /// its deadline.
    function test_an_absent_and_a_dissenting_aggregator_make_a_void_round() public {
        _toAttest(3);
        uint256 deadline = _current().attestEnd;
        Result memory other = _result();
        other.globalRoot = "other";
        _attest(_result(), 2);
        federation.attest(other, _only(_sign(_aggregatorKey(2), other)));
        vm.warp(deadline);
        assertPhase(Phase.Void);
        _toAccepted(3);
    }

    /// @dev Dead ones are outweighed by admitting others.
    function test_dead_aggregators_are_outweighed_by_admitting_others() public {
        _toAttest(3);
        _attest(_result(), 2);
        _endPhase();
        _join(_aggregator(4), Role.Aggregator, 3 * STAKE);
        _toAttest(3);
        _attest(_result(), 2);
        assertPhase(Phase.Attest);
        federation.attest(_result(), _only(_sign(_aggregatorKey(4), _result())));
        assertPhase(Phase.Accepted);
    }

    /// @dev Leaving does not lower the quorum of the round, and does not raise one's weight.
    function test_leaving_does_not_change_the_quorum_of_the_round() public {
        federation.openRound();
        _requestUnbond(_aggregator(3), Role.Aggregator);
        _requestUnbond(_aggregator(2), Role.Aggregator);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
        _attest(_result(), 2);
        assertPhase(Phase.Attest);
        assertEq(_current().aggregatorStake, AGGREGATORS * STAKE);
    }
}
