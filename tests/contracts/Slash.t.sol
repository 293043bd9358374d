// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Role} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";

/// @notice See Slash.tree. Four aggregators of two ether each; one ether is the minimum.
contract SlashTest is DisputeTest {
    // ------------------------------------------------------------------ the seat

    function test_SlashSigner_RevertWhen_NothingIsProvenAgainstTheResult() public {
        Evidence memory e = _acceptWrong();
        _expectNotSlashable(e, 0);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner("unknown", 0);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner(0, 0);
    }

    function test_SlashSigner_RevertWhen_TheSeatDidNotSign() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(2);
        _challenge(e);
        uint8[6] memory others = [2, 3, 4, 63, 64, 255];
        for (uint256 i = 0; i < others.length; ++i) {
            _expectNotSlashable(e, others[i]);
        }
    }

    function test_SlashSigner_RevertWhen_TheSignerWasSlashedForThisResult() public {
        _startWith(1000);
        Evidence memory e = _wrong();
        _slash(e, 0);
        uint256 left = _aggregatorStake(0);
        _expectNotSlashable(e, 0);
        _slash(e, 1);
        _expectNotSlashable(e, 0);
        assertEq(_aggregatorStake(0), left);
    }

    function test_SlashSigner_RevertWhen_TheSignerHasLeft() public {
        Evidence memory e = _wrong();
        _leave(0);
        _expectNotSlashable(e, 0);
        _slash(e, 1);
    }

    function test_SlashSigner_RevertWhen_AnotherAccountHasTheSeat() public {
        Evidence memory e = _wrong();
        _leave(0);
        _join(_aggregator(4), Role.Aggregator, STAKE);
        assertEq(federation.seatHolder(0), _aggregator(4));
        _expectNotSlashable(e, 0);
        assertEq(_aggregatorStake(4), STAKE);
    }

    function test_SlashSigner_RevertWhen_TheSignerLeftAndRegisteredAgain() public {
        Evidence memory e = _wrong();
        _leave(0);
        _register(_aggregator(0), Role.Aggregator, STAKE);
        assertEq(federation.seatHolder(0), _aggregator(0));
        _expectNotSlashable(e, 0);
        assertEq(_aggregatorStake(0), STAKE);
    }

    function test_SlashSigner_WhenTheSignerSignedAfterTheAcceptance() public {
        _toAttest(3);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, 3);
        _openRound();
        federation.attest(e.result, _only(_sign(_aggregatorKey(3), e.result)));
        _challenge(e);
        _slash(e, 3);
        assertEq(_aggregatorStake(3), 0);
    }

    function test_SlashSigner_WhenTheSignerSigned() public {
        Evidence memory e = _wrong();
        bytes32 digest = _digest(e);
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_aggregator(2), Role.Aggregator, 1, STAKE, STAKE / 2);
        vm.expectEmit(address(federation));
        emit IFederation.Credited(1, watcher, STAKE / 2);
        vm.prank(stranger);
        disputes.slashSigner(digest, 2);
        assertEq(_aggregatorStake(2), 0);
        assertEq(_creditOf(watcher), STAKE / 2);
        assertEq(disputes.fraud(digest).slashed, 4);
        _slash(e, 0);
        assertEq(_creditOf(watcher), STAKE);
        assertEq(disputes.fraud(digest).slashed, 5);
    }

    // ------------------------------------------------------------------ the amount

    function test_SlashSigner_WhenAllIsToBeSlashed() public {
        Evidence memory e = _wrong();
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
        assertEq(_creditOf(watcher), 2 * STAKE);
    }

    /// @dev Of 2e18 + 3 wei, one in ten thousand: 2e14 + .0003, and half of that.
    function test_SlashSigner_WhenAPartIsToBeSlashed() public {
        _startWith(1);
        _join(_aggregator(4), Role.Aggregator, STAKE + 3);
        _toAttest(3);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, 5);
        _challenge(e);
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_aggregator(4), Role.Aggregator, 1, 2e14 + 1, 1e14 + 1);
        _slash(e, 4);
        assertEq(_aggregatorStake(4), STAKE + 3 - 2e14 - 1);
        assertEq(_creditOf(watcher), 1e14);
    }

    function test_SlashSigner_WhenTheSignerHasNothingLeft() public {
        (Evidence memory first, Evidence memory second) = _twoWrong();
        _slash(first, 0);
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_aggregator(0), Role.Aggregator, 1, 0, 0);
        _slash(second, 0);
        assertEq(_creditOf(watcher), STAKE / 2);
        _expectNotSlashable(second, 0);
    }

    function test_SlashSigner_WhenASignerSignedSeveralWrongResults() public {
        _startWith(5000);
        (Evidence memory first, Evidence memory second) = _twoWrong();
        _slash(second, 0);
        assertEq(_aggregatorStake(0), STAKE / 2);
        _slash(first, 0);
        assertEq(_aggregatorStake(0), STAKE / 4);
        assertEq(_creditOf(watcher), STAKE / 4 + STAKE / 8);
        // Half of it counts no longer, the rest is below the minimum; the other signer has not been slashed.
        assertEq(_frozenTotal(), 3 * STAKE);
    }

    /// @dev Nobody gains by proving its own fraud.
    function test_SlashSigner_WhenTheChallengerSlashesItself() public {
        watcher = _aggregator(0);
        Evidence memory e = _wrong();
        _slash(e, 0);
        assertEq(_aggregatorStake(0) + _creditOf(_aggregator(0)), STAKE / 2);
    }

    function test_SlashSigner_WhenBothRolesHaveAStake() public {
        _join(_aggregator(0), Role.Party, STAKE);
        Evidence memory e = _wrong();
        _slash(e, 0);
        assertEq(_aggregatorStake(0), 0);
        assertEq(_stakeOf(_aggregator(0)), STAKE);
    }

    // ------------------------------------------------------------------ the totals

    function test_SlashSigner_WhenWhatIsLeftReachesTheMinimum() public {
        _startWith(5000);
        Evidence memory e = _wrong();
        _slash(e, 0);
        assertEq(_aggregatorStake(0), MIN_STAKE);
        assertEq(_frozenTotal(), 3 * STAKE + MIN_STAKE);
        assertEq(federation.observe(_aggregator(0)).aggregator.frozenStake, MIN_STAKE);
    }

    function test_SlashSigner_WhenWhatIsLeftIsBelowTheMinimum() public {
        _startWith(5001);
        Evidence memory e = _wrong();
        _slash(e, 0);
        assertLt(_aggregatorStake(0), MIN_STAKE);
        assertEq(_frozenTotal(), 3 * STAKE);
        assertEq(federation.observe(_aggregator(0)).aggregator.frozenStake, 0);
        // It leaves without taking anything more from the total.
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(30 days);
        assertEq(_frozenTotal(), 3 * STAKE);
    }

    function test_SlashSigner_WhenTheStakeWasBelowTheMinimum() public {
        _startWith(6000);
        (Evidence memory first, Evidence memory second) = _twoWrong();
        _slash(first, 0);
        uint256 left = _aggregatorStake(0);
        assertLt(left, MIN_STAKE);
        _slash(second, 0);
        assertEq(_aggregatorStake(0), left * 4 / 10);
        assertEq(_frozenTotal(), 3 * STAKE);
    }

    function test_SlashSigner_WhenTheSignerIsUnbonding() public {
        _startWith(1000);
        _toAttest(3);
        Evidence memory e = _proposeWrong(2);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _challenge(e);
        _slash(e, 0);
        assertEq(_aggregatorStake(0), STAKE * 9 / 10);
        skip(30 days);
        assertEq(_frozenTotal(), 3 * STAKE);
    }

    function test_SlashSigner_WhenEverybodyWasSlashedToNothing() public {
        Evidence memory e = _wrong();
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
        }
        vm.expectRevert(IFederation.NoAggregators.selector);
        federation.openRound();
        _join(_aggregator(4), Role.Aggregator, STAKE);
        assertEq(_frozenTotal(), STAKE);
        _openRound();
    }

    /// @dev In round 2, of eight ether three votes have five left, and four seven.
    function test_SlashSigner_WhenAVoteWasFrozenBefore() public {
        _startWith(5000);
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        _endPhase();
        _toAttest(3);
        _challenge(wrong);
        _slash(wrong, 0);
        Evidence memory right = _evidence();
        _sign(right, 3);
        (, uint96 stake, bool accepted) = federation.attestation(_digest(right));
        assertEq(stake, 2 * STAKE + MIN_STAKE);
        assertFalse(accepted);
        federation.attest(right.result, _only(_sign(_aggregatorKey(3), right.result)));
        assertHead(1, 2);
    }

    function test_SlashSigner_WhenTheVoteWasCountedBefore() public {
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        Evidence memory right = _evidence();
        _sign(right, 2);
        _challenge(wrong);
        _slash(wrong, 0);
        (, uint96 stake,) = federation.attestation(_digest(right));
        assertEq(stake, 2 * STAKE);
        federation.attest(right.result, _only(_sign(_aggregatorKey(2), right.result)));
        assertHead(1, 1);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Whatever the stakes and the fraction: never more than there is, half burnt, and the total is the sum
    /// of what counts.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_ASlashTakesItsShare(uint16 bps, uint96 stake, uint8 seat, bool unbonding) public {
        bps = uint16(bound(bps, 1, 10_000));
        stake = uint96(bound(stake, MIN_STAKE, 2 ** 90));
        seat %= 5;
        _startWith(bps);
        _join(_aggregator(4), Role.Aggregator, stake);
        _toAttest(2);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, 5);
        if (unbonding) _requestUnbond(_aggregator(4), Role.Aggregator);
        _challenge(e);
        uint256 before = _aggregatorStake(seat);
        uint256 balance = address(federation).balance;
        _slash(e, seat);
        uint256 amount = (before * bps + 9999) / 10_000;
        assertEq(_aggregatorStake(seat), before - amount);
        assertEq(_creditOf(watcher), amount / 2);
        assertEq(address(federation).balance, balance);

        skip(30 days);
        uint256 total = 0;
        for (uint256 i = 0; i < 5; ++i) {
            bool counts = _aggregatorStake(i) >= MIN_STAKE && !(unbonding && i == 4);
            if (counts) total += _aggregatorStake(i);
        }
        if (total == 0) {
            vm.expectRevert(IFederation.NoAggregators.selector);
            federation.openRound();
        } else {
            assertEq(_frozenTotal(), total);
        }
    }

    // ------------------------------------------------------------------ steps

    function _startWith(uint16 fraudSlashBps) private {
        Params memory p = _consortium();
        p.fraudSlashBps = fraudSlashBps;
        _start(p);
    }

    /// @dev Accepted by all, and proven wrong.
    function _wrong() private returns (Evidence memory e) {
        e = _acceptWrong();
        _challenge(e);
    }

    /// @dev In one round, by the first aggregator; nothing was accepted in it.
    function _twoWrong() private returns (Evidence memory first, Evidence memory second) {
        _toAttest(3);
        first = _proposeWrong(1);
        second = _evidence();
        _falsify(second, WRONG, -2);
        _sign(second, 1);
        _challenge(first);
        _challenge(second);
        _endPhase();
    }

    /// @dev A slash that nobody asks for is missed when the hold is over.
    function _leave(uint256 i) private {
        _requestUnbond(_aggregator(i), Role.Aggregator);
        skip(30 days);
        _withdraw(_aggregator(i), Role.Aggregator);
    }

    /// @dev What the next round would freeze.
    function _frozenTotal() private returns (uint256 total) {
        uint256 state = vm.snapshotState();
        federation.openRound();
        total = _current().aggregatorStake;
        vm.revertToState(state);
    }

    function _expectNotSlashable(Evidence memory e, uint256 seat) private {
        bytes32 digest = _digest(e);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner(digest, uint8(seat));
    }
}
