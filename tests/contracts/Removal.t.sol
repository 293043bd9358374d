// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {CountedUpdate, IFederation, Phase, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";

/// @notice See Removal.tree.
contract RemovalTest is DisputeTest {
    address internal alice = makeAddr("alice");

    function test_Remove_RevertWhen_TheCallerIsNotTheOwner() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
        federation.remove(_party(0), Role.Party);
    }

    function test_Remove_RevertWhen_TheAccountWasNotAdmitted() public {
        _expectNotAdmitted(alice, Role.Party);
        _expectNotAdmitted(alice, Role.Aggregator);
    }

    function test_Remove_RevertWhen_TheAccountWasRemoved() public {
        _remove(_party(0), Role.Party);
        _expectNotAdmitted(_party(0), Role.Party);
    }

    function test_Remove_RevertWhen_TheAccountIsAdmittedInTheOtherRoleOnly() public {
        _expectNotAdmitted(_party(0), Role.Aggregator);
        _expectNotAdmitted(_aggregator(0), Role.Party);
    }

    function test_Remove_RevertWhen_AdmissionIsOpenAndItIsAParty() public {
        federation = _deploy(_crowd());
        _register(alice, Role.Party, STAKE);
        _expectNotAdmitted(alice, Role.Party);
        // Not by admitting it first.
        _admit(alice, Role.Party);
        _expectNotAdmitted(alice, Role.Party);
        assertEq(federation.observe(alice).party.unbondAt, 0);
    }

    function test_Remove_WhenAdmissionIsOpenAndItIsAnAggregator() public {
        federation = _deploy(_crowd());
        _join(alice, Role.Aggregator, STAKE);
        _remove(alice, Role.Aggregator);
        assertGt(federation.observe(alice).aggregator.unbondAt, 0);
    }

    function test_Remove_WhenTheAccountHasNotRegistered() public {
        for (uint256 i = 0; i < 2; ++i) {
            Role role = Role(i);
            _admit(alice, role);
            vm.expectEmit(address(federation));
            emit IFederation.Removed(alice, role);
            _remove(alice, role);
            vm.deal(alice, STAKE);
            vm.expectRevert(IFederation.NotAdmitted.selector);
            vm.prank(alice);
            federation.register{value: STAKE}(role, alice);
        }
        assertEq(federation.observe(alice).party.unbondAt, 0);
        assertEq(federation.observe(alice).aggregator.unbondAt, 0);
    }

    function test_Remove_WhenTheAccountIsLeaving() public {
        _requestUnbond(_party(0), Role.Party);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        uint256 unbondAt = federation.observe(_party(0)).party.unbondAt;
        skip(1 hours);
        _remove(_party(0), Role.Party);
        _remove(_aggregator(0), Role.Aggregator);
        assertEq(federation.observe(_party(0)).party.unbondAt, unbondAt);
        assertEq(federation.observe(_aggregator(0)).aggregator.unbondAt, unbondAt);
        _openRound();
        assertEq(_current().activeParties, PARTIES - 1);
        assertEq(_current().aggregatorStake, (AGGREGATORS - 1) * STAKE);
    }

    function test_Remove_WhenTheAccountIsAdmittedAgain() public {
        _remove(_party(0), Role.Party);
        _admit(_party(0), Role.Party);
        vm.deal(_party(0), STAKE);
        vm.expectRevert(IFederation.AlreadyRegistered.selector);
        vm.prank(_party(0));
        federation.register{value: STAKE}(Role.Party, _beneficiary(_party(0)));
        skip(2 days);
        _withdraw(_party(0), Role.Party);
        _register(_party(0), Role.Party, STAKE);
        _openRound();
        assertEq(_current().activeParties, PARTIES);
    }

    function test_Remove_WhenTheAccountHasBothRoles() public {
        _join(_party(0), Role.Aggregator, STAKE);
        _remove(_party(0), Role.Party);
        assertGt(federation.observe(_party(0)).party.unbondAt, 0);
        assertEq(federation.observe(_party(0)).aggregator.unbondAt, 0);
        assertTrue(federation.observe(_party(0)).aggregator.admitted);
    }

    function test_Remove_WhenAPartyIsInTheMiddleOfARound() public {
        _openRound();
        _commit(0);
        _remove(_party(0), Role.Party);
        _remove(_party(1), Role.Party);
        assertEq(_current().commitQuota, PARTIES);
        assertEq(_current().partyStake, PARTIES * STAKE);
        _commit(1);
        _commit(2);
        _endPhase();
        _revealFirst(3);
        Result memory result = _result();
        CountedUpdate[] memory updates = _counted(_updates(3));
        _attest(result, AGGREGATORS);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, updates);
        assertEq(_creditOf(_party(0)), _creditOf(_party(2)));
        assertGt(_creditOf(_party(1)), 0);

        _openRound();
        assertEq(_current().activeParties, PARTIES - 2);
        assertEq(_current().commitQuota, PARTIES - 2);
        assertFalse(federation.observe(_party(0)).drawn);
    }

    function test_Remove_WhenAPartyIsRemovedWhileTheRoundIsSeeding() public {
        federation.openRound();
        _remove(_party(0), Role.Party);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        assertEq(_current().commitQuota, PARTIES);
        _commitFirst(PARTIES);
        assertPhase(Phase.Reveal);
    }

    function test_Remove_WhenAPartyOwesAReveal() public {
        _toReveal(3);
        _endPhase();
        vm.expectEmit(address(federation));
        emit IFederation.Slashed(_party(0), Role.Party, 1, STAKE / 10, STAKE / 10);
        _remove(_party(0), Role.Party);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
    }

    function test_Remove_WhenAPartyWasMarkedAbsent() public {
        for (uint256 n = 0; n < 2; ++n) {
            _toReveal(4);
            _revealFirst(4);
            vm.warp(_current().attestEnd);
        }
        _toReveal(4);
        federation.markAbsent(_party(4));
        _revealFirst(4);
        vm.warp(_current().attestEnd);
        _openRound();
        _commitFirst(3);
        _remove(_party(4), Role.Party);
        assertEq(_current().commitQuota, 4);
        _commit(3);
        assertPhase(Phase.Reveal);
        _revealFirst(4);
        vm.warp(_current().attestEnd);
        _openRound();
        assertEq(_current().activeParties, 4);
        assertEq(_current().commitQuota, 4);
    }

    function test_Remove_WhenAnAggregatorIsInTheMiddleOfARound() public {
        _toAttest(3);
        _remove(_aggregator(0), Role.Aggregator);
        _remove(_aggregator(1), Role.Aggregator);
        assertEq(_current().aggregatorStake, AGGREGATORS * STAKE);
        Result memory result = _result();
        CountedUpdate[] memory updates = _counted(_updates(3));
        _attest(result, 2);
        assertPhase(Phase.Attest);
        _attest(result, 3);
        assertPhase(Phase.Accepted);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, updates);
        assertEq(_creditOf(_aggregator(0)), 0.5 ether);
        _openRound();
        assertEq(_current().aggregatorStake, 2 * STAKE);
    }

    function test_Remove_WhenAnAggregatorHasSignedAWrongResult() public {
        Evidence memory wrong = _acceptWrong();
        _remove(_aggregator(0), Role.Aggregator);
        // Its stake stays for as long as the result can be challenged.
        vm.warp(_window(wrong).finalAt - 1);
        vm.expectPartialRevert(IFederation.StillUnbonding.selector);
        _withdraw(_aggregator(0), Role.Aggregator);
        _challenge(wrong);
        _slash(wrong, 0);
        assertEq(_aggregatorStake(0), 0);
    }

    function test_Remove_WhenTheLastAggregatorIsRemoved() public {
        _toAttest(3);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _remove(_aggregator(i), Role.Aggregator);
        }
        _attest(_result(), AGGREGATORS);
        assertPhase(Phase.Accepted);
        vm.expectRevert(IFederation.NoAggregators.selector);
        federation.openRound();
        _join(alice, Role.Aggregator, STAKE);
        _openRound();
        assertPhase(Phase.Commit);
    }

    function test_Remove_WhenTheTimeToUnbondIsOver() public {
        address[2] memory accounts = [_party(0), _aggregator(0)];
        uint256 balance = owner.balance;
        for (uint256 i = 0; i < 2; ++i) {
            _remove(accounts[i], Role(i));
        }
        skip(2 days - 1);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectPartialRevert(IFederation.StillUnbonding.selector);
            _withdraw(accounts[i], Role(i));
        }
        skip(1);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
            vm.prank(owner);
            federation.withdraw(accounts[i], Role(i));
            _withdraw(accounts[i], Role(i));
            assertEq(_beneficiary(accounts[i]).balance, STAKE);
        }
        assertEq(owner.balance, balance);
    }

    // ------------------------------------------------------------------ steps

    function _remove(address account, Role role) private {
        vm.prank(owner);
        federation.remove(account, role);
    }

    function _expectNotAdmitted(address account, Role role) private {
        vm.expectRevert(IFederation.NotAdmitted.selector);
        _remove(account, role);
    }
}
