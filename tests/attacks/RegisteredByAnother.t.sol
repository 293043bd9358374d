// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An attacker registers its victim, to choose where the victim's money goes; or steals the key on the
/// victim's training server, to send the stake elsewhere.
contract RegisteredByAnotherTest is FederationTest {
    address internal mallory = makeAddr("mallory");

    /// @dev Only an account itself registers. Whoever names another's beneficiary pays for it, and has no power
    /// over the other.
    function test_nobody_registers_somebody_else() public {
        federation = _deploy(_consortium());
        address victim = makeAddr("victim");
        _admit(victim, Role.Party);
        _admit(mallory, Role.Party);
        vm.deal(mallory, STAKE);
        vm.prank(mallory);
        federation.register{value: STAKE}(Role.Party, victim);
        assertEq(_stakeOf(victim), 0);
        assertEq(federation.observe(victim).beneficiary, address(0));
        _register(victim, Role.Party, STAKE);
        assertEq(federation.observe(victim).beneficiary, _beneficiary(victim));

        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        vm.prank(mallory);
        federation.requestUnbond(victim, Role.Party);
        // The attacker's own stake is the victim's now.
        vm.prank(victim);
        federation.requestUnbond(mallory, Role.Party);
        skip(2 days);
        vm.prank(victim);
        federation.withdraw(mallory, Role.Party);
        assertEq(victim.balance, STAKE);
    }

    /// @dev The key of a training server takes nothing: a beneficiary is for ever.
    function test_a_stolen_training_key_does_not_take_the_stake() public {
        vm.startPrank(_party(0));
        federation.requestUnbond(_party(0), Role.Party);
        skip(2 days);
        federation.withdraw(_party(0), Role.Party);
        assertEq(_party(0).balance, 0);
        assertEq(_beneficiary(_party(0)).balance, STAKE);
        vm.deal(_party(0), STAKE);
        vm.expectRevert(
            abi.encodeWithSelector(IFederation.BeneficiaryMismatch.selector, _beneficiary(_party(0)))
        );
        federation.register{value: STAKE}(Role.Party, mallory);
        vm.stopPrank();
    }
}
