// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Of four aggregators, one wants to make the next model alone.
contract LoneAggregatorTest is FederationTest {
    /// @dev With every trick it has: signing twice, in one batch and in many, and several results, up to the
    /// deadline. The head stays where it is.
    function test_a_lone_aggregator_does_not_win_below_quorum() public {
        _toAttest(3);
        uint256 key = _aggregatorKey(0);
        for (uint256 i = 0; i < 3; ++i) {
            Result memory result = _result();
            result.globalRoot = keccak256(abi.encode("mine", i));
            Signature[] memory many = new Signature[](5);
            for (uint256 k = 0; k < 5; ++k) {
                many[k] = _sign(key, result);
            }
            federation.attest(result, many);
            _expectNothingAccepted(IFederation.AlreadyAttested.selector);
            federation.attest(result, many);
            (, uint96 stake,) = federation.attestation(federation.resultDigest(result));
            assertEq(stake, STAKE);
        }
        assertPhase(Phase.Attest);
        _endPhase();
        assertPhase(Phase.Void);
        assertEq(federation.head().height, 0);
    }

    /// @dev With another form of its signature: there is one form (low s) of each.
    function test_a_second_form_of_a_signature_does_not_count() public {
        _toAttest(3);
        Result memory result = _result();
        Signature memory signature = _sign(_aggregatorKey(0), result);
        federation.attest(result, _only(signature));
        uint256 s = uint256(signature.vs) & (type(uint256).max >> 1);
        uint256 parity = uint256(signature.vs) >> 255;
        signature.vs = bytes32((parity ^ 1) << 255 | (N - s));
        vm.expectPartialRevert(IFederation.NothingAccepted.selector);
        federation.attest(result, _only(signature));
        (, uint96 stake,) = federation.attestation(federation.resultDigest(result));
        assertEq(stake, STAKE);
    }

    /// @dev Half of the stake plus one is not enough, nor are two thirds exactly.
    function test_two_thirds_exactly_are_no_quorum() public {
        federation = _deploy(_consortium());
        _populate(3, 3);
        _toAttest(3);
        _attest(_result(), 2);
        assertPhase(Phase.Attest);
        federation.attest(_result(), _only(_sign(_aggregatorKey(2), _result())));
        assertPhase(Phase.Accepted);
    }

    /// @dev Where it is the only one, it is the quorum: watchers guard such a federation (see WrongModel).
    function test_a_single_aggregator_is_a_quorum_of_its_federation() public {
        federation = _deploy(_consortium());
        _populate(2, 1);
        _toAttest(2);
        _attest(_result(), 1);
        assertPhase(Phase.Accepted);
    }
}
