// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice An account takes its stake out, and asks for it again: at once, later, in the other role, through its
/// beneficiary.
contract StakeWithdrawnTwiceTest is FederationTest {
    function test_a_stake_is_withdrawn_once() public {
        for (uint256 i = 0; i < 2; ++i) {
            (address account, Role role) =
                i == 0 ? (_party(0), Role.Party) : (_aggregator(0), Role.Aggregator);
            _requestUnbond(account, role);
            skip(2 days);
            _withdraw(account, role);
            _withdrawInVain(account, account, Role.Party);
            _withdrawInVain(account, account, Role.Aggregator);
            skip(30 days);
            _withdrawInVain(_beneficiary(account), account, role);
            assertEq(_beneficiary(account).balance, STAKE);
        }
        assertEq(address(federation).balance, (PARTIES + AGGREGATORS - 2) * uint256(STAKE) + POT);
    }

    function _withdrawInVain(address caller, address account, Role role) private {
        vm.expectRevert(IFederation.NotUnbonding.selector);
        vm.prank(caller);
        federation.withdraw(account, role);
    }
}
