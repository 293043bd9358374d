// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Observation, Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Reenterer, Refuser} from "./support/Receivers.sol";

/// @notice See Payouts.tree: what leaves a federation in which there are disputes. A stake is unbonded after a
/// day and a minute; without a hold it could leave before the slash for a round that a revocation has taken.
contract PayoutsTest is DisputeTest {
    uint256 private constant UNBOND_DELAY = 1 days + 1 minutes;

    function setUp() public override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        Params memory p = _consortium();
        p.unbondPeriod = uint32(UNBOND_DELAY);
        _start(p);
    }

    // ------------------------------------------------------------------ withdraw

    /// @dev Its signers ask to leave in the next round, which is void: only the hold keeps them.
    function test_Withdraw_RevertWhen_AnAcceptedResultIsProvenWrong() public {
        Evidence memory e = _acceptWrong();
        _openRound();
        _askToLeave();
        vm.warp(_window(e).windowEnd - 1);
        assertPhase(Phase.Void);
        assertLt(federation.observe(_aggregator(0)).aggregator.unbondAt, block.timestamp);
        _challenge(e);
        _expectHeldUntil(_window(e).windowEnd - 1 + CHALLENGE_PERIOD, 2);
    }

    function test_Withdraw_RevertWhen_AResultThatWasNotAcceptedIsProvenWrong() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(1);
        _askToLeave();
        vm.warp(_window(e).windowEnd - 1);
        _challenge(e);
        _expectHeldUntil(_window(e).windowEnd - 1 + CHALLENGE_PERIOD, 1);
    }

    function test_Withdraw_RevertWhen_ADemandHasExpired() public {
        Evidence memory e = _acceptWrong();
        _openRound();
        _askToLeave();
        uint256 id = _demand(1, 10, 0);
        vm.warp(_window(e).finalAt - 1);
        disputes.expire(id, e.result);
        disputes.settleBond(id);
        _expectHeldUntil(_window(e).finalAt - 1 + CHALLENGE_PERIOD, 2);
    }

    /// @dev What was signed in it can be wrong too, though its base is orphaned.
    function test_Withdraw_RevertWhen_TheRoundInProgressMayBeDisputedForLonger() public {
        Evidence memory e = _acceptWrong();
        _toAttest(3);
        Evidence memory second = _proposeWrong(1);
        uint256 attestEnd = _current().attestEnd;
        _askToLeave();
        _challenge(e);
        assertGt(attestEnd, block.timestamp);
        assertPhase(Phase.Void);
        uint256 until = attestEnd + CHALLENGE_PERIOD;
        uint256 state = vm.snapshotState();
        _expectHeldUntil(until, 2);
        vm.revertToState(state);
        vm.warp(until - 1);
        _challenge(second);
        _slash(second, 0);
        assertEq(_aggregatorStake(0), 0);
    }

    function test_Withdraw_RevertWhen_TheLastRoundMayBeDisputedForLonger() public {
        Evidence memory first = _acceptWrong();
        skip(1 hours);
        Evidence memory second = _acceptWrong();
        federation.openRound();
        uint256 attestEnd = _window(second).attestEnd;
        _askToLeave();
        _challenge(first);
        assertGt(attestEnd, block.timestamp);
        _finishSeeding();
        uint256 until = attestEnd + CHALLENGE_PERIOD;
        vm.warp(until - 1);
        _challenge(second);
        _expectHeldUntil(until - 1 + CHALLENGE_PERIOD, 3);
    }

    function test_Withdraw_RevertWhen_AnotherFraudIsProven() public {
        _toAttest(3);
        Evidence memory first = _proposeWrong(1);
        Evidence memory second = _evidence();
        _falsify(second, WRONG, -2);
        _sign(second, 1);
        _askToLeave();
        _challenge(first);
        vm.warp(_window(second).windowEnd - 1);
        _challenge(second);
        _expectHeldUntil(_window(second).windowEnd - 1 + CHALLENGE_PERIOD, 1);
    }

    function test_Withdraw_RevertWhen_AWindowWasExtended() public {
        Evidence memory e = _acceptRight();
        _askToLeave();
        uint256 id = _demand(1, 0, 0);
        _answer(id, e.model);
        vm.warp(_window(e).finalAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeStillCounts.selector, 1));
        _withdraw(_aggregator(0), Role.Aggregator);
        vm.warp(_window(e).finalAt);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
        assertEq(_beneficiary(_aggregator(0)).balance, STAKE);
    }

    function test_Withdraw_WhenTheHoldIsOver() public {
        Params memory p = _consortium();
        p.fraudSlashBps = 2500;
        _start(p);
        Evidence memory e = _acceptWrong();
        _challenge(e);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            if (i != 3) _slash(e, i);
        }
        _askToLeave();
        skip(30 days);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _withdraw(_aggregator(i), Role.Aggregator);
            assertEq(_beneficiary(_aggregator(i)).balance, i == 3 ? STAKE : STAKE * 3 / 4);
        }
        for (uint256 i = 0; i < PARTIES; ++i) {
            _withdraw(_party(i), Role.Party);
            assertEq(_beneficiary(_party(i)).balance, STAKE);
        }
    }

    /// @dev A fraud in an early round does not shorten what a fraud in a late one asked for.
    function test_Withdraw_WhenAnEarlierHoldWasLonger() public {
        _toAttest(3);
        Evidence memory early = _proposeWrong(1);
        _endPhase();
        Evidence memory late = _acceptWrong();
        uint256 until = _current().attestEnd + CHALLENGE_PERIOD;
        federation.openRound();
        _askToLeave();
        _challenge(late);
        _challenge(early);
        _finishSeeding();
        _expectHeldUntil(until, 3);
    }

    // ------------------------------------------------------------------ withdrawRewards

    function test_WithdrawRewards_WhenTheWatcherNeverRegistered() public {
        _slash(_wrong(), 0);
        Observation memory seen = federation.observe(watcher);
        assertEq(seen.beneficiary, address(0));
        assertEq(seen.credit, STAKE / 2);
        vm.expectEmit(address(federation));
        emit IFederation.RewardsWithdrawn(watcher, watcher, STAKE / 2);
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
        assertEq(watcher.balance, STAKE / 2);
        assertEq(_creditOf(watcher), 0);
        vm.expectRevert(IFederation.NothingToWithdraw.selector);
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
    }

    function test_WithdrawRewards_RevertWhen_AStrangerAsksForTheWatcher() public {
        _slash(_wrong(), 0);
        address[3] memory others = [stranger, address(0), _beneficiary(watcher)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
            vm.prank(others[i]);
            federation.withdrawRewards(watcher);
        }
    }

    function test_WithdrawRewards_WhenTheWatcherHasRegisteredSince() public {
        _slash(_wrong(), 0);
        _join(watcher, Role.Party, STAKE);
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
        assertEq(_beneficiary(watcher).balance, STAKE / 2);
        assertEq(watcher.balance, 0);
    }

    function test_WithdrawRewards_WhenTheWatcherEntersAgain() public {
        Reenterer reenterer = new Reenterer();
        watcher = address(reenterer);
        Evidence memory e = _wrong();
        _slash(e, 0);
        _slash(e, 1);
        bytes memory again = abi.encodeCall(IFederation.withdrawRewards, (watcher));
        reenterer.prepare(address(federation), again);
        reenterer.execute(address(federation), 0, again);
        assertTrue(reenterer.tried());
        assertFalse(reenterer.succeeded());
        assertEq(watcher.balance, STAKE);

        // Entering to be paid for another slash gains nothing that it had not anyway.
        _slash(e, 2);
        reenterer.prepare(address(federation), abi.encodeCall(IDisputes.slashSigner, (_digest(e), 3)));
        reenterer.execute(address(federation), 0, again);
        assertTrue(reenterer.succeeded());
        assertEq(watcher.balance, STAKE + STAKE / 2);
        assertEq(_creditOf(watcher), STAKE / 2);
    }

    function test_WithdrawRewards_RevertWhen_TheWatcherRefusesMoney() public {
        watcher = address(new Refuser());
        _slash(_wrong(), 0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.PaymentFailed.selector, watcher, STAKE / 2));
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
        assertEq(_creditOf(watcher), STAKE / 2);
    }

    // ------------------------------------------------------------------ steps

    /// @dev Accepted by all, and proven wrong.
    function _wrong() private returns (Evidence memory e) {
        e = _acceptWrong();
        _challenge(e);
    }

    /// @dev Everybody.
    function _askToLeave() private {
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _requestUnbond(_aggregator(i), Role.Aggregator);
        }
        for (uint256 i = 0; i < PARTIES; ++i) {
            _requestUnbond(_party(i), Role.Party);
        }
    }

    function _finishSeeding() private {
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
    }

    // ------------------------------------------------------------------ expectations

    /// @dev No stake leaves before, neither an aggregator's nor a party's, and every stake may leave then.
    function _expectHeldUntil(uint256 until, uint32 lastRound) private {
        assertLt(block.timestamp, until);
        vm.warp(until - 1);
        bytes memory reason = abi.encodeWithSelector(IFederation.StakeStillCounts.selector, lastRound);
        vm.expectRevert(reason);
        _withdraw(_aggregator(0), Role.Aggregator);
        vm.expectRevert(reason);
        _withdraw(_party(0), Role.Party);
        vm.warp(until);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _withdraw(_aggregator(i), Role.Aggregator);
        }
        for (uint256 i = 0; i < PARTIES; ++i) {
            _withdraw(_party(i), Role.Party);
        }
        assertEq(address(federation).balance, POT + _creditOf(watcher));
    }
}
