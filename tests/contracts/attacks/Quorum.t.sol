// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    IFederation,
    Params,
    Phase,
    Result,
    Role,
    Signature
} from "../../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../support/FederationTest.sol";

/// @notice Nothing but more than two thirds of the frozen stake moves the head; nobody blocks for ever (G7).
contract QuorumTest is FederationTest {
    /// @dev With every trick it has: signing twice, in one batch and in many, and several results.
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
            (, uint96 stake,) = federation.attestation(federation.resultDigest(result));
            assertEq(stake, STAKE);
        }
        assertPhase(Phase.Attest);
        _endPhase();
        assertPhase(Phase.Void);
        assertEq(federation.head().height, 0);
    }

    /// @dev Two thirds, colluding, are not enough; with the others they make another result the head.
    function test_two_results_never_both_win() public {
        _toAttest(3);
        Result memory wrong = _result();
        wrong.globalRoot = "wrong";
        Result memory right = _result();
        _attest(wrong, 2);
        _attest(right, 3);
        Signature[] memory late = _only(_sign(_aggregatorKey(2), wrong));
        vm.expectRevert(IFederation.UnknownResult.selector);
        federation.attest(wrong, late);
        assertEq(federation.head().root, right.globalRoot);
    }

    /// @dev One of four is dead, another signs something else: the round has no quorum, and the next one opens.
    function test_an_absent_and_a_dissenting_aggregator_make_a_void_round() public {
        _toAttest(3);
        Result memory other = _result();
        other.globalRoot = "other";
        _attest(_result(), 2);
        federation.attest(other, _only(_sign(_aggregatorKey(2), other)));
        _endPhase();
        assertPhase(Phase.Void);
        _toAccepted(3);
    }

    /// @dev A dead one is outweighed by admitting others.
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

    /// @dev One is enough for a small federation.
    function test_a_single_aggregator_is_a_quorum_of_its_federation() public {
        federation = _deploy(_consortium());
        _populate(2, 1);
        _toAttest(2);
        _attest(_result(), 1);
        assertPhase(Phase.Accepted);
    }

    /// @dev Whatever one signs beside the accepted result earns nothing and costs nobody.
    function test_several_results_of_one_signer_are_counted_apart() public {
        _toAttest(4);
        Result memory fewer = _result();
        fewer.included = 7;
        _attest(fewer, 1);
        Result memory result = _result();
        _attest(result, 4);
        (uint64 signers,, bool accepted) = federation.attestation(federation.resultDigest(fewer));
        assertEq(signers, 1);
        assertFalse(accepted);
        (signers,, accepted) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 15);
        assertTrue(accepted);
    }

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
        vm.warp(_current().commitEnd);
        vm.warp(revealEnd - 1);
        _reveal(_update(0));
        _reveal(_update(1));
        assertEq(_current().revealEnd, block.timestamp);
        assertLe(_current().attestEnd, attestEnd);
        vm.warp(_current().attestEnd - 1);
        _attest(_result(), 1);
        vm.warp(_current().attestEnd);
        assertPhase(Phase.Void);
    }

    /// @dev Whoever calls openRound too late for the hash gets another block, again and again, but the freeze
    /// holds and one timely call opens.
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
}
