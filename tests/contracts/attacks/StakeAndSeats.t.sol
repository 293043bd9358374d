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

/// @notice Stake counts when it was there before the seed block was named, and can be slashed until it leaves.
contract StakeAndSeatsTest is FederationTest {
    address internal mallory = makeAddr("mallory");

    /// @dev With the seed block named, or its hash known, more stake buys no seat.
    function test_stake_placed_after_the_seed_block_was_named_does_not_count() public {
        federation = _deploy(_crowd());
        _populate(20, 1);
        federation.openRound();
        vm.roll(_current().seedBlock + 1);
        _register(mallory, Role.Party, 1_000_000 ether);
        for (uint256 i = 0; i < 20; ++i) {
            _deposit(_party(i), 1_000_000 ether);
        }
        federation.openRound();
        vm.expectRevert(IFederation.NotActive.selector);
        vm.prank(mallory);
        federation.commit("some");
        uint256 drawn = 0;
        for (uint256 i = 0; i < 20; ++i) {
            assertEq(_frozenStakeOf(_party(i)), STAKE);
            if (federation.observe(_party(i)).drawn) ++drawn;
        }
        assertLt(drawn, 20);
    }

    /// @dev A late aggregator's vote does not count, and does not raise the quorum either.
    function test_a_vote_placed_after_the_seed_block_was_named_does_not_count() public {
        federation.openRound();
        _join(_aggregator(9), Role.Aggregator, 1_000_000 ether);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
        Result memory result = _result();
        Signature[] memory late = _only(_sign(_aggregatorKey(9), result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, late);
        _attest(result, 3);
        assertPhase(Phase.Accepted);
    }

    function test_there_is_no_stake_without_value() public {
        _admit(mallory, Role.Party);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, 0, MIN_STAKE));
        vm.prank(mallory);
        federation.register(Role.Party, mallory);
        vm.expectRevert(IFederation.ZeroAmount.selector);
        vm.prank(_party(0));
        federation.deposit();
        // Nor can coins be left behind by a plain transfer.
        vm.deal(mallory, 1 ether);
        vm.prank(mallory);
        (bool sent,) = address(federation).call{value: 1 ether}("");
        assertFalse(sent);
    }

    function test_a_stake_is_withdrawn_once() public {
        _requestUnbond(_party(0), Role.Party);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(2 days);
        _withdraw(_party(0), Role.Party);
        _withdraw(_aggregator(0), Role.Aggregator);
        vm.expectRevert(IFederation.NotUnbonding.selector);
        _withdraw(_party(0), Role.Party);
        vm.expectRevert(IFederation.NotUnbonding.selector);
        _withdraw(_aggregator(0), Role.Aggregator);
        // Nor in the other role.
        vm.expectRevert(IFederation.NotUnbonding.selector);
        _withdraw(_party(0), Role.Aggregator);
        assertEq(address(federation).balance, (PARTIES + AGGREGATORS - 2) * uint256(STAKE) + POT);
    }

    /// @dev A party that asks to leave in the commit phase, commits, and does not reveal.
    function test_a_party_cannot_leave_before_its_slash() public {
        Params memory p = _consortium();
        (p.unbondPeriod, p.challengePeriod, p.answerPeriod) = (1, 2, 1);
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _openRound();
        _requestUnbond(_party(0), Role.Party);
        _commitFirst(3);
        _endPhase();
        _expectStillCounts(_party(0), Role.Party, 1);
        _reveal(_update(1));
        _reveal(_update(2));
        _endPhase();
        assertPhase(Phase.Attest);
        _expectStillCounts(_party(0), Role.Party, 1);
        _attest(_result(), AGGREGATORS);
        _expectStillCounts(_party(0), Role.Party, 1);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE - STAKE / 10);
    }

    /// @dev A signer stays until its round is final, and with it every earlier one.
    function test_a_signer_cannot_leave_before_its_round_is_final() public {
        Params memory p = _consortium();
        p.unbondPeriod = 1;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        _attest(_result(), AGGREGATORS);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        vm.warp(_observe().finalizableAt);
        _expectStillCounts(_aggregator(0), Role.Aggregator, 1);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
    }

    /// @dev A result that was never accepted can be proved false for a challenge period after its deadline,
    /// also when its signer left the federation in the middle of the attest phase.
    function test_a_signer_of_a_rejected_result_cannot_leave_before_it_may_be_challenged() public {
        Params memory p = _consortium();
        p.unbondPeriod = 1;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        Result memory wrong = _result();
        wrong.globalRoot = "wrong";
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _attest(wrong, 1);
        uint256 windowEnd = _current().attestEnd + p.challengePeriod;
        vm.warp(_current().attestEnd);
        _openRound();
        vm.warp(windowEnd - 1);
        _expectStillCounts(_aggregator(0), Role.Aggregator, 1);
        vm.warp(windowEnd);
        _withdraw(_aggregator(0), Role.Aggregator);
    }

    /// @dev Somebody slashes a leaving party as late as possible, in a round that is not its own any more: it
    /// loses what it owes, and no time.
    function test_a_late_slash_does_not_hold_a_leaving_stake() public {
        Params memory p = _consortium();
        (p.unbondPeriod, p.challengePeriod, p.answerPeriod) = (1, 2, 1);
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
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

    /// @dev A seat index is freed with the stake, and not before.
    function test_a_seat_is_not_reused_while_its_holder_may_be_slashed() public {
        _toAccepted(3);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _join(_aggregator(4), Role.Aggregator, STAKE);
        assertEq(federation.observe(_aggregator(4)).aggregator.seat, 4);
        assertEq(federation.seatHolder(0), _aggregator(0));
    }

    /// @dev Only an account itself registers, and its beneficiary stays.
    function test_nobody_registers_somebody_else_or_takes_its_money() public {
        _admit(mallory, Role.Party);
        vm.deal(mallory, 3 * STAKE);
        vm.prank(mallory);
        federation.register{value: STAKE}(Role.Party, _beneficiary(_party(0)));
        assertEq(_stakeOf(_party(0)), STAKE);
        assertEq(federation.observe(_party(0)).beneficiary, _beneficiary(_party(0)));

        // With the key of a training server.
        vm.startPrank(_party(0));
        federation.requestUnbond(_party(0), Role.Party);
        skip(2 days);
        federation.withdraw(_party(0), Role.Party);
        assertEq(_party(0).balance, 0);
        vm.deal(_party(0), STAKE);
        vm.expectRevert(
            abi.encodeWithSelector(IFederation.BeneficiaryMismatch.selector, _beneficiary(_party(0)))
        );
        federation.register{value: STAKE}(Role.Party, _party(0));
        vm.stopPrank();

        // Sharing a beneficiary gives no power over an account.
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        vm.prank(mallory);
        federation.requestUnbond(_party(1), Role.Party);
    }

    function test_an_outsider_has_no_part_in_a_closed_federation() public {
        vm.deal(mallory, 3 * STAKE);
        vm.startPrank(mallory);
        vm.expectRevert(IFederation.NotAdmitted.selector);
        federation.register{value: STAKE}(Role.Party, mallory);
        vm.expectRevert(IFederation.NotRegistered.selector);
        federation.deposit{value: STAKE}();
        vm.stopPrank();
        _openRound();
        vm.expectRevert(IFederation.NotRegistered.selector);
        vm.prank(mallory);
        federation.commit("some");
        _commitFirst(3);
        _endPhase();
        _expectNothingAccepted(IFederation.NoCommitment.selector);
        _reveal(_updateOf(mallory, "root"));
    }

    /// @dev A party, however rich, in an open federation too.
    function test_an_aggregator_nobody_admitted_has_no_vote() public {
        federation = _deploy(_crowd());
        _populate(20, 1);
        address rich = _party(20);
        _register(rich, Role.Party, 1_000_000 ether);
        vm.deal(rich, 1_000_000 ether);
        vm.expectRevert(IFederation.NotAdmitted.selector);
        vm.prank(rich);
        federation.register{value: 1_000_000 ether}(Role.Aggregator, _beneficiary(rich));
    }

    /// @dev The slash finds the party with less than its fraction, slashed before, or gone: nothing is blocked.
    function test_a_slash_never_blocks_anything() public {
        Params memory p = _consortium();
        p.unrevealedSlashBps = 10_000;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toReveal(PARTIES);
        _endPhase();
        for (uint256 i = 0; i < PARTIES; ++i) {
            federation.slashUnrevealed(_party(i));
            assertEq(_stakeOf(_party(i)), 0);
        }
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotEnoughParties.selector, 0, 2));
        federation.openRound();
        // They may come back; the next round opens.
        for (uint256 i = 0; i < 2; ++i) {
            _register(_party(i), Role.Party, MIN_STAKE);
        }
        _toAccepted(2);
        assertEq(_current().partyStake, 2 * MIN_STAKE);
    }

    /// @dev A slash in the round that the slashed party takes part in does not take its place in it.
    function test_a_slash_leaves_the_frozen_round_alone() public {
        Params memory p = _consortium();
        p.unrevealedSlashBps = 10_000;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toReveal(3);
        _endPhase();
        _openRound();
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), 0);
        _commitFirst(PARTIES);
        assertPhase(Phase.Reveal);
        _revealFirst(PARTIES);
        _attest(_result(), AGGREGATORS);
        assertEq(_current().reveals, PARTIES);
    }

    function _expectStillCounts(address account, Role role, uint32 round) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeStillCounts.selector, round));
        vm.prank(account);
        federation.withdraw(account, role);
    }
}
