// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {
    IFederation,
    Observation,
    Params,
    Phase,
    Role,
    StakeView
} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {Refuser} from "./support/Receivers.sol";

/// @notice See Accounts.tree.
contract AccountsTest is FederationTest {
    address internal alice = makeAddr("alice");
    address internal bob = makeAddr("bob");

    // ------------------------------------------------------------------ admit

    function test_Admit_RevertWhen_TheCallerIsNotTheOwner() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
        federation.admit(new address[](1), Role.Party);
    }

    function test_Admit_WhenTheOwnerAdmitsAccounts() public {
        address[] memory accounts = new address[](2);
        (accounts[0], accounts[1]) = (alice, bob);
        vm.expectEmit(address(federation));
        emit IFederation.Admitted(alice, Role.Party);
        vm.expectEmit(address(federation));
        emit IFederation.Admitted(bob, Role.Party);
        vm.prank(owner);
        federation.admit(accounts, Role.Party);

        _register(bob, Role.Party, STAKE);
        assertTrue(federation.observe(alice).party.admitted);
        assertFalse(federation.observe(alice).aggregator.admitted);
        _expectRefusedRegistration(alice, Role.Aggregator, STAKE, IFederation.NotAdmitted.selector);
    }

    // ------------------------------------------------------------------ register

    function test_Register_RevertWhen_TheBeneficiaryIsZero() public {
        _admit(alice, Role.Party);
        vm.deal(alice, STAKE);
        vm.expectRevert(IFederation.ZeroBeneficiary.selector);
        vm.prank(alice);
        federation.register{value: STAKE}(Role.Party, address(0));
    }

    function test_Register_RevertWhen_TheAccountHasAnotherBeneficiary() public {
        address party = _party(0);
        _admit(party, Role.Aggregator);
        vm.deal(party, STAKE);
        address[2] memory others = [address(1), address(type(uint160).max)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IFederation.BeneficiaryMismatch.selector, _beneficiary(party))
            );
            vm.prank(party);
            federation.register{value: STAKE}(Role.Aggregator, others[i]);
        }
    }

    function test_Register_WhenOneAccountTakesBothRoles() public {
        address account = _party(0);
        _join(account, Role.Aggregator, 3 ether);
        Observation memory seen = federation.observe(account);
        assertEq(seen.party.stake, STAKE);
        assertEq(seen.aggregator.stake, 3 ether);
        assertEq(seen.beneficiary, _beneficiary(account));
    }

    function test_Register_RevertWhen_AdmissionIsClosedAndThePartyIsNotAdmitted() public {
        _expectRefusedRegistration(alice, Role.Party, STAKE, IFederation.NotAdmitted.selector);
    }

    function test_Register_WhenAdmissionIsOpen() public {
        federation = _deploy(_crowd());
        _register(alice, Role.Party, STAKE);
        assertEq(_stakeOf(alice), STAKE);
    }

    function test_Register_RevertWhen_ThePartyIsRegistered() public {
        _expectRefusedRegistration(_party(0), Role.Party, STAKE, IFederation.AlreadyRegistered.selector);
    }

    function test_Register_RevertWhen_ThePartyIsUnbonding() public {
        _requestUnbond(_party(0), Role.Party);
        _expectRefusedRegistration(_party(0), Role.Party, STAKE, IFederation.AlreadyRegistered.selector);
    }

    function test_Register_RevertWhen_ThePartyIsUnbondingWithNothingLeft() public {
        _redeployWithSlash(10_000);
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        _endPhase();
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), 0);
        _expectRefusedRegistration(_party(0), Role.Party, STAKE, IFederation.AlreadyRegistered.selector);
    }

    function test_Register_RevertWhen_TheValueIsBelowTheMinimumOfAParty() public {
        _expectStakeTooLow(Role.Party);
    }

    function test_Register_RevertWhen_APartysValueDoesNotFit96Bits() public {
        _admit(alice, Role.Party);
        _expectRefusedRegistration(alice, Role.Party, 2 ** 96, IFederation.AmountTooHigh.selector);
    }

    function test_Register_RevertWhen_ThePartiesTotalDoesNotFit96Bits() public {
        _admit(alice, Role.Party);
        uint256 others = PARTIES * STAKE;
        _expectRefusedRegistration(alice, Role.Party, 2 ** 96 - others, IFederation.AmountTooHigh.selector);
        _register(alice, Role.Party, 2 ** 96 - 1 - others);
    }

    function test_Register_RevertWhen_AsManyPartiesAsMayBeAreRegistered() public {
        _join(alice, Role.Party, STAKE);
        _admit(bob, Role.Party);
        _expectRefusedRegistration(bob, Role.Party, STAKE, IFederation.FederationFull.selector);
    }

    function test_Register_WhenAnUnbondingPartyHasLeftItsPlace() public {
        _join(alice, Role.Party, STAKE);
        _requestUnbond(_party(0), Role.Party);
        _join(bob, Role.Party, STAKE);
        assertEq(_stakeOf(bob), STAKE);
    }

    function test_Register_WhenThePartyWasSlashedToNothing() public {
        _redeployWithSlash(10_000);
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), 0);
        _register(_party(0), Role.Party, STAKE);
        assertEq(_stakeOf(_party(0)), STAKE);
    }

    function test_Register_WhenThePartyHasWithdrawn() public {
        _requestUnbond(_party(0), Role.Party);
        skip(2 days);
        _withdraw(_party(0), Role.Party);
        _register(_party(0), Role.Party, MIN_STAKE);
        assertEq(_stakeOf(_party(0)), MIN_STAKE);
    }

    function test_Register_WhenThePartyIsAdmittedAndStakesEnough() public {
        federation.openRound();
        _admit(alice, Role.Party);
        vm.expectEmit(address(federation));
        emit IFederation.Registered(alice, Role.Party, _beneficiary(alice), MIN_STAKE, 0);
        _register(alice, Role.Party, MIN_STAKE);

        StakeView memory seen = federation.observe(alice).party;
        assertEq(seen.stake, MIN_STAKE);
        assertEq(seen.frozenStake, 0);
        _passVoidRound();
        assertEq(_frozenStakeOf(alice), MIN_STAKE);
        assertEq(_current().partyStake, PARTIES * STAKE + MIN_STAKE);
        assertEq(_current().activeParties, PARTIES + 1);
    }

    function test_Register_RevertWhen_TheAggregatorIsNotAdmitted() public {
        federation = _deploy(_crowd());
        _expectRefusedRegistration(alice, Role.Aggregator, STAKE, IFederation.NotAdmitted.selector);
    }

    function test_Register_RevertWhen_TheAggregatorHasASeat() public {
        _expectRefusedRegistration(
            _aggregator(0), Role.Aggregator, STAKE, IFederation.AlreadyRegistered.selector
        );
    }

    function test_Register_RevertWhen_TheAggregatorIsUnbonding() public {
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _expectRefusedRegistration(
            _aggregator(0), Role.Aggregator, STAKE, IFederation.AlreadyRegistered.selector
        );
    }

    function test_Register_RevertWhen_TheValueIsBelowTheMinimumOfAnAggregator() public {
        _expectStakeTooLow(Role.Aggregator);
    }

    function test_Register_RevertWhen_AnAggregatorsValueDoesNotFit96Bits() public {
        _admit(alice, Role.Aggregator);
        _expectRefusedRegistration(alice, Role.Aggregator, 2 ** 96, IFederation.AmountTooHigh.selector);
    }

    function test_Register_RevertWhen_TheAggregatorsTotalDoesNotFit96Bits() public {
        _admit(alice, Role.Aggregator);
        uint256 others = AGGREGATORS * STAKE;
        _expectRefusedRegistration(
            alice, Role.Aggregator, 2 ** 96 - others, IFederation.AmountTooHigh.selector
        );
        _register(alice, Role.Aggregator, 2 ** 96 - 1 - others);
    }

    function test_Register_RevertWhen_AllSeatsAreTaken() public {
        for (uint256 i = AGGREGATORS; i < 64; ++i) {
            _join(_aggregator(i), Role.Aggregator, STAKE);
            assertEq(federation.seatHolder(uint8(i)), _aggregator(i));
        }
        _admit(alice, Role.Aggregator);
        _expectRefusedRegistration(alice, Role.Aggregator, STAKE, IFederation.NoFreeSeat.selector);
    }

    function test_Register_WhenASeatWasFreed() public {
        _requestUnbond(_aggregator(1), Role.Aggregator);
        _requestUnbond(_aggregator(2), Role.Aggregator);
        skip(2 days);
        _withdraw(_aggregator(2), Role.Aggregator);
        _withdraw(_aggregator(1), Role.Aggregator);
        _join(alice, Role.Aggregator, STAKE);
        assertEq(federation.observe(alice).aggregator.seat, 1);
        assertEq(federation.seatHolder(1), alice);
        assertEq(federation.seatHolder(2), address(0));
    }

    function test_Register_WhenTheAggregatorIsAdmittedAndStakesEnough() public {
        federation.openRound();
        _admit(alice, Role.Aggregator);
        vm.expectEmit(address(federation));
        emit IFederation.Registered(alice, Role.Aggregator, _beneficiary(alice), MIN_STAKE, 4);
        _register(alice, Role.Aggregator, MIN_STAKE);

        StakeView memory seen = federation.observe(alice).aggregator;
        assertEq(seen.stake, MIN_STAKE);
        assertEq(seen.frozenStake, 0);
        assertEq(seen.seat, 4);
        _passVoidRound();
        assertEq(federation.observe(alice).aggregator.frozenStake, MIN_STAKE);
        assertEq(_current().aggregatorStake, AGGREGATORS * STAKE + MIN_STAKE);
    }

    // ------------------------------------------------------------------ deposit

    function test_Deposit_RevertWhen_ThePartyIsNotRegistered() public {
        _expectRefusedDeposit(alice, 1, IFederation.NotRegistered.selector);
    }

    function test_Deposit_RevertWhen_TheDepositorIsAnAggregatorOnly() public {
        _expectRefusedDeposit(_aggregator(0), 1, IFederation.NotRegistered.selector);
    }

    function test_Deposit_RevertWhen_TheDepositorIsUnbonding() public {
        _requestUnbond(_party(0), Role.Party);
        _expectRefusedDeposit(_party(0), 1, IFederation.AlreadyUnbonding.selector);
    }

    function test_Deposit_RevertWhen_TheValueIsZero() public {
        _expectRefusedDeposit(_party(0), 0, IFederation.ZeroAmount.selector);
    }

    function test_Deposit_RevertWhen_TheSumDoesNotFit96Bits() public {
        uint256 most = 2 ** 96 - 1 - PARTIES * STAKE;
        _expectRefusedDeposit(_party(0), 2 ** 96 - STAKE, IFederation.AmountTooHigh.selector);
        _expectRefusedDeposit(_party(0), most + 1, IFederation.AmountTooHigh.selector);
        _deposit(_party(0), most);
        assertEq(_stakeOf(_party(0)), STAKE + most);
    }

    function test_Deposit_WhenTheStakeIsBelowTheMinimum() public {
        _redeployWithSlash(9_000);
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        _deposit(_party(0), 0.7 ether);
        _passVoidRound();
        assertEq(_frozenStakeOf(_party(0)), 0, "0.9 ether do not count");
        _deposit(_party(0), 0.1 ether);
        _passVoidRound();
        assertEq(_frozenStakeOf(_party(0)), MIN_STAKE);
        assertEq(_current().activeParties, PARTIES);
    }

    function test_Deposit_WhenThePartyIsRegistered() public {
        federation.openRound();
        vm.expectEmit(address(federation));
        emit IFederation.Deposited(_party(0), 3 ether);
        _deposit(_party(0), 3 ether);
        assertEq(_stakeOf(_party(0)), STAKE + 3 ether);
        assertEq(_frozenStakeOf(_party(0)), STAKE);
        assertEq(_current().partyStake, PARTIES * STAKE);
        _passVoidRound();
        assertEq(_frozenStakeOf(_party(0)), STAKE + 3 ether);
        assertEq(_current().partyStake, PARTIES * STAKE + 3 ether);
    }

    // ------------------------------------------------------------------ requestUnbond

    function test_RequestUnbond_RevertWhen_TheCallerIsNeitherTheAccountNorItsBeneficiary() public {
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        vm.prank(stranger);
        federation.requestUnbond(_party(0), Role.Party);
    }

    function test_RequestUnbond_WhenTheLongerPeriodIsTheChallengePeriod() public {
        Params memory p = _consortium();
        (p.unbondPeriod, p.challengePeriod) = (1, 5 days);
        federation = _deploy(p);
        _populate(1, 1);
        _requestUnbond(_party(0), Role.Party);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        assertEq(federation.observe(_party(0)).party.unbondAt, block.timestamp + 5 days);
        assertEq(federation.observe(_aggregator(0)).aggregator.unbondAt, block.timestamp + 5 days);
    }

    function test_RequestUnbond_RevertWhen_ThePartyIsNotRegistered() public {
        _expectRefusedUnbonding(alice, Role.Party, IFederation.NotRegistered.selector);
        _expectRefusedUnbonding(_aggregator(0), Role.Party, IFederation.NotRegistered.selector);
    }

    function test_RequestUnbond_RevertWhen_ThePartyIsUnbonding() public {
        _requestUnbond(_party(0), Role.Party);
        _expectRefusedUnbonding(_party(0), Role.Party, IFederation.AlreadyUnbonding.selector);
    }

    function test_RequestUnbond_WhenThePartyOwesASlash() public {
        _skipReveal(0);
        _requestUnbond(_party(0), Role.Party);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
        assertFalse(federation.observe(_party(0)).unrevealedSlashable);
    }

    function test_RequestUnbond_RevertWhen_TheSlashTakesEverything() public {
        _redeployWithSlash(10_000);
        _skipReveal(0);
        _expectRefusedUnbonding(_party(0), Role.Party, IFederation.NotRegistered.selector);
    }

    function test_RequestUnbond_WhenAPartyAsks() public {
        federation.openRound();
        vm.expectEmit(address(federation));
        emit IFederation.UnbondRequested(_party(0), Role.Party, block.timestamp + 2 days);
        vm.prank(_beneficiary(_party(0)));
        federation.requestUnbond(_party(0), Role.Party);

        StakeView memory seen = federation.observe(_party(0)).party;
        assertEq(seen.unbondAt, block.timestamp + 2 days);
        assertEq(seen.stake, STAKE);
        assertEq(seen.frozenStake, STAKE);
        assertEq(_current().partyStake, PARTIES * STAKE);
        _passVoidRound();
        assertEq(_frozenStakeOf(_party(0)), 0);
        assertEq(_current().partyStake, (PARTIES - 1) * STAKE);
        assertEq(_current().activeParties, PARTIES - 1);
    }

    function test_RequestUnbond_RevertWhen_TheAggregatorHasNoSeat() public {
        _expectRefusedUnbonding(_party(0), Role.Aggregator, IFederation.NotRegistered.selector);
    }

    function test_RequestUnbond_RevertWhen_TheAggregatorIsUnbonding() public {
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _expectRefusedUnbonding(_aggregator(0), Role.Aggregator, IFederation.AlreadyUnbonding.selector);
    }

    function test_RequestUnbond_WhenAnAggregatorAsks() public {
        federation.openRound();
        vm.expectEmit(address(federation));
        emit IFederation.UnbondRequested(_aggregator(0), Role.Aggregator, block.timestamp + 2 days);
        _requestUnbond(_aggregator(0), Role.Aggregator);

        StakeView memory seen = federation.observe(_aggregator(0)).aggregator;
        assertEq(seen.unbondAt, block.timestamp + 2 days);
        assertEq(seen.frozenStake, STAKE);
        assertEq(_current().aggregatorStake, AGGREGATORS * STAKE);
        _passVoidRound();
        assertEq(federation.observe(_aggregator(0)).aggregator.frozenStake, 0);
        assertEq(_current().aggregatorStake, (AGGREGATORS - 1) * STAKE);
    }

    // ------------------------------------------------------------------ withdraw

    function test_Withdraw_RevertWhen_TheCallerIsNeitherTheAccountNorItsBeneficiary() public {
        _requestUnbond(_party(0), Role.Party);
        skip(2 days);
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        vm.prank(stranger);
        federation.withdraw(_party(0), Role.Party);
    }

    function test_Withdraw_RevertWhen_TheAccountIsNotUnbonding() public {
        bytes memory expected = abi.encodePacked(IFederation.NotUnbonding.selector);
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
        _expectRefusedWithdrawal(stranger, Role.Aggregator, expected);
    }

    function test_Withdraw_RevertWhen_TheTimeIsNotOver() public {
        _unbondBoth(0);
        uint256 unbondAt = block.timestamp + 2 days;
        bytes memory expected = abi.encodeWithSelector(IFederation.StillUnbonding.selector, unbondAt);
        vm.warp(unbondAt - 1);
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
        vm.warp(unbondAt);
        _withdrawBoth(0);
    }

    function test_Withdraw_RevertWhen_ARoundInWhichTheStakeCountsIsInProgress() public {
        federation.openRound();
        _unbondBoth(0);
        skip(2 days);
        bytes memory expected = abi.encodeWithSelector(IFederation.StakeStillCounts.selector, 1);
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
        vm.roll(block.number + 2);
        federation.openRound();
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _endPhase();
        assertPhase(Phase.Void);
        _withdrawBoth(0);
    }

    function test_Withdraw_RevertWhen_ARoundInWhichTheStakeCountedIsNotFinal() public {
        _toAccepted(3);
        _toAccepted(3);
        _unbondBoth(0);
        skip(30 days);
        bytes memory expected = abi.encodeWithSelector(IFederation.StakeStillCounts.selector, 2);
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        federation.finalize();
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
        federation.finalize();
        _withdrawBoth(0);
    }

    function test_Withdraw_WhenOnlyLaterRoundsAreNotFinal() public {
        _toAccepted(3);
        _unbondBoth(3);
        skip(2 days);
        federation.finalize();
        _toAccepted(3);
        assertEq(_observe().finalHeight, 1);
        _withdrawBoth(3);
        // Nor does a round in progress hold it.
        _requestUnbond(_party(4), Role.Party);
        skip(2 days);
        federation.finalize();
        _openRound();
        _withdraw(_party(4), Role.Party);
    }

    function test_Withdraw_RevertWhen_AResultOfTheVoidLastRoundMayStillBeChallenged() public {
        Params memory p = _consortium();
        p.unbondPeriod = 1;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        _attest(_result(), 1);
        _unbondBoth(0);
        uint256 windowEnd = _current().attestEnd + 1 days;
        vm.warp(windowEnd - 1);
        assertPhase(Phase.Void);
        bytes memory expected = abi.encodeWithSelector(IFederation.StakeStillCounts.selector, 1);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
        vm.warp(windowEnd);
        _withdraw(_aggregator(0), Role.Aggregator);
    }

    function test_Withdraw_RevertWhen_TheBeneficiaryRefusesThePayment() public {
        address refuser = address(new Refuser());
        _admit(alice, Role.Party);
        vm.deal(alice, STAKE);
        vm.prank(alice);
        federation.register{value: STAKE}(Role.Party, refuser);
        _requestUnbond(alice, Role.Party);
        skip(2 days);
        bytes memory expected = abi.encodeWithSelector(IFederation.PaymentFailed.selector, refuser, STAKE);
        _expectRefusedWithdrawal(alice, Role.Party, expected);
    }

    function test_Withdraw_WhenNothingIsLeftOfTheStake() public {
        _redeployWithSlash(10_000);
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        vm.warp(_current().revealEnd + 2 days);
        vm.expectEmit(address(federation));
        emit IFederation.Withdrawn(_party(0), Role.Party, _beneficiary(_party(0)), 0);
        _withdraw(_party(0), Role.Party);
        _register(_party(0), Role.Party, STAKE);
    }

    function test_Withdraw_WhenThePartyOwesASlash() public {
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        vm.warp(_current().revealEnd + 2 days);
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_party(0), Role.Party, 1, STAKE / 10, STAKE / 10);
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE - STAKE / 10);
    }

    function test_Withdraw_RevertWhen_TheStakeWasWithdrawn() public {
        _unbondBoth(0);
        skip(2 days);
        _withdrawBoth(0);
        bytes memory expected = abi.encodePacked(IFederation.NotUnbonding.selector);
        _expectRefusedWithdrawal(_party(0), Role.Party, expected);
        _expectRefusedWithdrawal(_aggregator(0), Role.Aggregator, expected);
    }

    function test_Withdraw_WhenTheBeneficiaryAsks() public {
        _requestUnbond(_party(0), Role.Party);
        skip(2 days);
        vm.prank(_beneficiary(_party(0)));
        federation.withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE);
    }

    function test_Withdraw_WhenEverythingIsOver() public {
        _toFinal(3);
        _requestUnbond(_party(0), Role.Party);
        skip(2 days);
        uint256 balance = address(federation).balance;
        vm.expectEmit(address(federation));
        emit IFederation.Withdrawn(_party(0), Role.Party, _beneficiary(_party(0)), STAKE);
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, STAKE);
        assertEq(address(federation).balance, balance - STAKE);
        StakeView memory seen = federation.observe(_party(0)).party;
        assertEq(seen.stake, 0);
        assertEq(seen.frozenStake, 0);
        assertEq(seen.unbondAt, 0);
    }

    function test_Withdraw_WhenEverythingIsOverForAnAggregator() public {
        _toFinal(3);
        _requestUnbond(_aggregator(1), Role.Aggregator);
        skip(2 days);
        _withdraw(_aggregator(1), Role.Aggregator);
        assertEq(_beneficiary(_aggregator(1)).balance, STAKE);
        assertEq(federation.seatHolder(1), address(0));
        StakeView memory seen = federation.observe(_aggregator(1)).aggregator;
        assertEq(seen.stake, 0);
        assertEq(seen.unbondAt, 0);
    }

    // ------------------------------------------------------------------ slashUnrevealed

    function test_SlashUnrevealed_RevertWhen_ThePartyNeverCommitted() public {
        _skipReveal(0);
        _expectNotSlashable(_party(4));
        _expectNotSlashable(stranger);
    }

    function test_SlashUnrevealed_RevertWhen_TheCommitWasRevealed() public {
        _skipReveal(0);
        _expectNotSlashable(_party(1));
        _endPhase();
        federation.openRound();
        _expectNotSlashable(_party(1));
    }

    function test_SlashUnrevealed_RevertWhen_TheRevealPhaseIsNotOver() public {
        _toReveal(3);
        vm.warp(_current().revealEnd - 1);
        _expectNotSlashable(_party(0));
    }

    function test_SlashUnrevealed_RevertWhen_TheRoundHadTooFewCommits() public {
        _openRound();
        _commit(0);
        _endPhase();
        assertPhase(Phase.Void);
        skip(30 days);
        _expectNotSlashable(_party(0));
        _openRound();
        _expectNotSlashable(_party(0));
    }

    function test_SlashUnrevealed_RevertWhen_TheCommitWasSlashed() public {
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        _expectNotSlashable(_party(0));
        _endPhase();
        _openRound();
        _expectNotSlashable(_party(0));
    }

    function test_SlashUnrevealed_RevertWhen_TheStakeHasLeft() public {
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        vm.warp(_current().revealEnd + 2 days);
        _withdraw(_party(0), Role.Party);
        _expectNotSlashable(_party(0));
        _register(_party(0), Role.Party, STAKE);
        _expectNotSlashable(_party(0));
    }

    function test_SlashUnrevealed_WhenTheRoundIsVoidForLackOfReveals() public {
        _toReveal(3);
        _endPhase();
        assertPhase(Phase.Void);
        federation.slashUnrevealed(_party(0));
        federation.openRound();
        federation.slashUnrevealed(_party(1));
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
        assertEq(_stakeOf(_party(1)), STAKE - STAKE / 10);
    }

    function test_SlashUnrevealed_WhenLaterRoundsHavePassed() public {
        _skipReveal(0);
        _attest(_result(), AGGREGATORS);
        _openRound();
        _passVoidRound();
        assertTrue(federation.observe(_party(0)).unrevealedSlashable);
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_party(0), Role.Party, 1, STAKE / 10, STAKE / 10);
        federation.slashUnrevealed(_party(0));
    }

    function test_SlashUnrevealed_WhenTheSlashLeavesLessThanTheMinimum() public {
        _redeployWithSlash(5_001);
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        assertLt(_stakeOf(_party(0)), MIN_STAKE);
        assertEq(_frozenStakeOf(_party(0)), STAKE);
        skip(1 days);
        federation.openRound();
        assertEq(_frozenStakeOf(_party(0)), 0);
        assertEq(_current().activeParties, PARTIES - 1);
        assertEq(_current().partyStake, (PARTIES - 1) * STAKE);
    }

    function test_SlashUnrevealed_WhenTheFractionIsZero() public {
        _redeployWithSlash(0);
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), STAKE);
        _expectNotSlashable(_party(0));
    }

    function test_SlashUnrevealed_WhenTheFractionIsBarelyMoreThanAWholeWei() public {
        _redeployWithSlash(1);
        _deposit(_party(0), 1);
        _skipReveal(0);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), STAKE + 1 - (STAKE / 10_000 + 1));
    }

    function test_SlashUnrevealed_WhenTheRevealPhaseIsOver() public {
        _deposit(_party(0), 1);
        _skipReveal(0);
        uint256 amount = STAKE / 10 + 1;
        uint256 balance = address(federation).balance;
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_party(0), Role.Party, 1, amount, amount);
        vm.prank(stranger);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), STAKE + 1 - amount);
        assertEq(_frozenStakeOf(_party(0)), STAKE + 1);
        assertEq(address(federation).balance, balance);
        assertEq(_observe().freePot, POT);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev A stake comes back whole, whatever it is, and the totals follow it.
    function testFuzz_AStakeComesBackWhole(uint96 stake, uint96 added, bool party) public {
        federation = _deploy(_consortium());
        Role role = party ? Role.Party : Role.Aggregator;
        stake = uint96(bound(stake, MIN_STAKE, type(uint96).max));
        added = party ? uint96(bound(added, 0, type(uint96).max - stake)) : 0;
        _join(alice, role, stake);
        if (added != 0) _deposit(alice, added);
        assertEq(address(federation).balance, uint256(stake) + added);
        _requestUnbond(alice, role);
        skip(2 days);
        _withdraw(alice, role);
        assertEq(_beneficiary(alice).balance, uint256(stake) + added);
        assertEq(address(federation).balance, 0);
    }

    /// @dev A slash takes the fraction, rounded up, and at most what is there.
    function testFuzz_ASlashTakesItsFractionRoundedUp(uint96 stake, uint16 bps) public {
        stake = uint96(bound(stake, MIN_STAKE, type(uint96).max - 2 * STAKE));
        bps = uint16(bound(bps, 0, 10_000));
        Params memory p = _consortium();
        p.unrevealedSlashBps = bps;
        federation = _deploy(p);
        _populate(2, 1);
        _join(_party(2), Role.Party, stake);
        _skipReveal(2);
        federation.slashUnrevealed(_party(2));
        uint256 taken = stake - _stakeOf(_party(2));
        assertGe(taken * 10_000, uint256(stake) * bps);
        assertLt(taken * 10_000, uint256(stake) * bps + 10_000);
    }

    // ------------------------------------------------------------------ steps

    function _redeployWithSlash(uint16 bps) private {
        Params memory p = _consortium();
        p.unrevealedSlashBps = bps;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
    }

    /// @dev A round in which the first three parties commit, and one of them does not reveal, up to Attest.
    function _skipReveal(uint256 who) private {
        _toReveal(3);
        for (uint256 i = 0; i < 3; ++i) {
            if (i != who) _reveal(_update(i));
        }
        _endPhase();
    }

    /// @dev Ends the round that is open or being opened, void, and names the seed block of the next one.
    function _passVoidRound() private {
        if (_current().phase == Phase.Seeding) {
            vm.roll(_current().seedBlock + 1);
            federation.openRound();
        }
        skip(1 days);
        federation.openRound();
    }

    function _unbondBoth(uint256 i) private {
        _requestUnbond(_party(i), Role.Party);
        _requestUnbond(_aggregator(i), Role.Aggregator);
    }

    function _withdrawBoth(uint256 i) private {
        _withdraw(_party(i), Role.Party);
        _withdraw(_aggregator(i), Role.Aggregator);
    }

    // ------------------------------------------------------------------ refusals

    function _expectRefusedRegistration(address account, Role role, uint256 value, bytes4 reason) private {
        vm.deal(account, value);
        vm.expectRevert(reason);
        vm.prank(account);
        federation.register{value: value}(role, _beneficiary(account));
    }

    function _expectStakeTooLow(Role role) private {
        _admit(alice, role);
        vm.deal(alice, MIN_STAKE);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, MIN_STAKE - 1, MIN_STAKE));
        vm.prank(alice);
        federation.register{value: MIN_STAKE - 1}(role, _beneficiary(alice));
    }

    function _expectRefusedDeposit(address account, uint256 value, bytes4 reason) private {
        vm.deal(account, value);
        vm.expectRevert(reason);
        vm.prank(account);
        federation.deposit{value: value}();
    }

    function _expectRefusedUnbonding(address account, Role role, bytes4 reason) private {
        vm.expectRevert(reason);
        vm.prank(account);
        federation.requestUnbond(account, role);
    }

    function _expectRefusedWithdrawal(address account, Role role, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(account);
        federation.withdraw(account, role);
    }

    function _expectNotSlashable(address party) private {
        assertFalse(federation.observe(party).unrevealedSlashable);
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(party);
    }
}
