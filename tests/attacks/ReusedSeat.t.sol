// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An aggregator frees its seat, so that another sits there when what it signed comes to light.
contract ReusedSeatTest is FederationTest {
    /// @dev The seat is freed with the stake, and not before.
    function test_a_seat_is_not_reused_while_its_holder_may_be_slashed() public {
        _toAccepted(3);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _join(_aggregator(4), Role.Aggregator, STAKE);
        assertEq(federation.observe(_aggregator(4)).aggregator.seat, 4);
        assertEq(federation.seatHolder(0), _aggregator(0));
    }

    /// @dev Whoever holds a seat signs; that its predecessor did does not count for it, nor against it.
    function test_a_seat_does_not_inherit_signatures() public {
        Params memory p = _consortium();
        p.unbondPeriod = 1;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 3);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(30 days);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
        _join(_aggregator(9), Role.Aggregator, STAKE);
        assertEq(federation.seatHolder(0), _aggregator(9));

        _toAttest(3);
        result = _result();
        federation.attest(result, _only(_sign(_aggregatorKey(9), result)));
        Signature[] memory old = _only(_sign(_aggregatorKey(0), result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, old);
        (uint64 signers,,) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 1);
    }
}
