// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice A signer of a wrong result asks to leave as soon as it has signed, and withdraws in the block in which the
/// fraud is proven, before anybody slashes it.
contract StakeWithdrawnAfterProofTest is DisputeTest {
    /// @dev The proof comes at the last second of the window, when all else has long let the stakes go.
    function test_a_signer_cannot_leave_between_proof_and_slash() public {
        _startWithShortUnbonding();
        Evidence memory e = _acceptWrong();
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _requestUnbond(_aggregator(i), Role.Aggregator);
        }
        vm.warp(_window(e).finalAt - 1);
        _leaveInVain(_aggregator(0), _aggregator(0));
        _challenge(e);
        // Revoked, the round is nobody's any more; the stakes stay for another challenge period.
        uint256 held = block.timestamp + CHALLENGE_PERIOD;
        _leaveInVain(_aggregator(0), _aggregator(0));
        _leaveInVain(_beneficiary(_aggregator(0)), _aggregator(0));
        vm.warp(held - 1);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _leaveInVain(_aggregator(i), _aggregator(i));
            _slash(e, i);
        }
        vm.warp(held);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _withdraw(_aggregator(i), Role.Aggregator);
            assertEq(_beneficiary(_aggregator(i)).balance, 0);
        }
    }

    /// @dev The same of a wrong result that never won, after the round has been followed by others.
    function test_a_signer_of_a_rejected_result_cannot_leave_either() public {
        _startWithShortUnbonding();
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _endPhase();
        assertPhase(Phase.Void);
        vm.warp(_window(wrong).windowEnd - 1);
        _challenge(wrong);
        vm.warp(_window(wrong).windowEnd);
        _leaveInVain(_aggregator(0), _aggregator(0));
        _slash(wrong, 0);
        assertEq(_creditOf(watcher), STAKE / 2);
    }

    /// @dev A signer of a wrong round on top of a wrong one: undoing the lower round ends the upper one's life, and
    /// with it what held its signers. They stay for their own proof.
    function test_a_signer_is_not_set_free_by_the_fall_of_a_round_below() public {
        _startWithShortUnbonding();
        Evidence memory first = _acceptWrong();
        _toAttest(3);
        Evidence memory second = _evidence();
        _falsify(second, WRONG + 1, 1);
        _sign(second, AGGREGATORS);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        vm.warp(_window(first).finalAt - 1);
        _challenge(first);
        vm.warp(_window(second).windowEnd - 1);
        _leaveInVain(_aggregator(0), _aggregator(0));
        _challenge(second, WRONG + 1);
        _slash(second, 0);
        assertEq(_aggregatorStake(0), 0);
        _slash(first, 0); // finds nothing, and blocks nothing
    }

    function _startWithShortUnbonding() private {
        Params memory p = _consortium();
        p.unbondPeriod = 1;
        _start(p);
    }

    function _leaveInVain(address caller, address account) private {
        vm.expectPartialRevert(IFederation.StakeStillCounts.selector);
        vm.prank(caller);
        federation.withdraw(account, Role.Aggregator);
    }
}
