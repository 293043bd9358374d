// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice The slash of a signer finds less than it wants: a stake below the amount, one slashed before, a signer that
/// has gone, another in its seat. It takes what is there, and blocks nothing.
contract BrickingFraudSlashTest is DisputeTest {
    function test_a_signer_is_slashed_once_for_a_result() public {
        Params memory p = _consortium();
        p.fraudSlashBps = 5_000;
        _start(p);
        Evidence memory e = _acceptWrong();
        _challenge(e);
        _slash(e, 0);
        _slashInVain(e, 0);
        assertEq(_aggregatorStake(0), STAKE / 2);
        assertEq(_creditOf(watcher), STAKE / 4);
    }

    /// @dev Of two wrong results, each takes its part of what is left, down to nothing and further.
    function test_a_stake_that_is_gone_is_slashed_without_effect() public {
        _toAttest(3);
        Evidence[3] memory wrong;
        for (uint256 i = 0; i < 3; ++i) {
            wrong[i] = _evidence();
            _falsify(wrong[i], WRONG + i, 1);
            _sign(wrong[i], 2);
        }
        for (uint256 i = 0; i < 3; ++i) {
            _challenge(wrong[i], WRONG + i);
            _slash(wrong[i], 0);
        }
        assertEq(_aggregatorStake(0), 0);
        assertEq(_creditOf(watcher), STAKE / 2);
        assertPhase(Phase.Attest);
    }

    /// @dev Two of four lose their stake in the middle of the attest phase: the round cannot reach its quorum, ends
    /// at its deadline, and the next one, with the two others, is accepted.
    function test_a_slash_in_the_attest_phase_does_not_stop_the_next_round() public {
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(2);
        _challenge(wrong);
        _slash(wrong, 0);
        _slash(wrong, 1);
        Evidence memory right = _evidence();
        for (uint256 i = 2; i < AGGREGATORS; ++i) {
            federation.attest(right.result, _only(_sign(_aggregatorKey(i), right.result)));
        }
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        this.attestBy(right, 0);
        _endPhase();
        assertPhase(Phase.Void);

        _toAttest(3);
        assertEq(_current().aggregatorStake, 2 * STAKE);
        right = _evidence();
        for (uint256 i = 2; i < AGGREGATORS; ++i) {
            this.attestBy(right, i);
        }
        assertHead(1, 2);
    }

    /// @dev It has left before the proof could hold it: nothing is taken, nor from who sits in its seat now.
    function test_who_took_the_seat_of_a_signer_is_not_slashed() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(3 days);
        _withdraw(_aggregator(0), Role.Aggregator); // nobody has slashed it in time
        _slashInVain(e, 0);
        _openRound();
        _join(_aggregator(9), Role.Aggregator, STAKE);
        assertEq(federation.seatHolder(0), _aggregator(9));
        _slashInVain(e, 0);
        assertEq(_aggregatorStake(9), STAKE);
        _slash(e, 1);
    }

    /// @dev Everybody is slashed to nothing: others are admitted, and rounds go on.
    function test_a_federation_outlives_all_its_aggregators() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
        }
        vm.expectRevert(IFederation.NoAggregators.selector);
        federation.openRound();
        _join(_aggregator(9), Role.Aggregator, STAKE);
        _toAttest(3);
        this.attestBy(_evidence(), 9);
        assertHead(1, 2);
    }

    function attestBy(Evidence memory e, uint256 i) external {
        federation.attest(e.result, _only(_sign(_aggregatorKey(i), e.result)));
    }

    function _slashInVain(Evidence memory e, uint8 seat) private {
        bytes32 digest = _digest(e);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner(digest, seat);
    }
}
