// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Whoever owes a slash leaves as fast as the shortest unbonding allows: it does not get away with its stake.
contract StakeWithdrawnBeforeSlashTest is FederationTest {
    /// @dev A party asks to leave in the commit phase, commits, and does not reveal.
    function test_a_party_cannot_leave_before_its_slash() public {
        _redeploy(2);
        _openRound();
        _requestUnbond(_party(0), Role.Party);
        _commitFirst(3);
        _endPhase();
        _leaveInVain(_party(0), Role.Party);
        _reveal(_update(1));
        _reveal(_update(2));
        _endPhase();
        assertPhase(Phase.Attest);
        _leaveInVain(_party(0), Role.Party);
        _attest(_result(), AGGREGATORS);
        _leaveInVain(_party(0), Role.Party);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE - STAKE / 10);
    }

    /// @dev A signer stays until its round is final, and with it every earlier one.
    function test_a_signer_cannot_leave_before_its_round_is_final() public {
        _redeploy(1 days);
        _toAccepted(3);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        vm.warp(_observe().finalizableAt);
        _leaveInVain(_aggregator(0), Role.Aggregator);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
    }

    /// @dev A result that was never accepted can be proved false for a challenge period after its deadline,
    /// also when its signer left the federation in the middle of the attest phase.
    function test_a_signer_of_a_rejected_result_cannot_leave_before_it_may_be_challenged() public {
        _redeploy(1 days);
        _toAttest(3);
        Result memory wrong = _result();
        wrong.globalRoot = "wrong";
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _attest(wrong, 1);
        uint256 windowEnd = _current().attestEnd + 1 days;
        vm.warp(_current().attestEnd);
        _openRound();
        vm.warp(windowEnd - 1);
        _leaveInVain(_aggregator(0), Role.Aggregator);
        vm.warp(windowEnd);
        _withdraw(_aggregator(0), Role.Aggregator);
    }

    /// @dev Somebody slashes a leaving party as late as possible, in a round that is not its own any more: it
    /// loses what it owes, and no time.
    function test_a_late_slash_does_not_hold_a_leaving_stake() public {
        _redeploy(2);
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        _endPhase();
        assertPhase(Phase.Void);
        _openRound();
        federation.slashUnrevealed(_party(0));
        assertEq(_frozenStakeOf(_party(0)), 0);
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE - STAKE / 10);
    }

    /// @dev With the shortest unbonding: it takes a challenge period all the same.
    function _redeploy(uint32 challengePeriod) private {
        Params memory p = _consortium();
        (p.unbondPeriod, p.challengePeriod, p.answerPeriod) = (1, challengePeriod, 1);
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
    }

    function _leaveInVain(address account, Role role) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeStillCounts.selector, 1));
        vm.prank(account);
        federation.withdraw(account, role);
    }
}
