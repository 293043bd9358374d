// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {IPrivateFederation} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateAccounts.tree.
contract PrivateAccountsTest is PrivateTest {
    /// @dev 5^3 + 7 is no square.
    bytes32 internal constant OFF_CURVE = bytes32(uint256(5));
    bytes32 internal constant ON_CURVE = bytes32(uint256(1));

    // ------------------------------------------------------------------ register

    function test_Register_RevertWhen_APartyHasAKey() public {
        _admit(stranger, Role.Party);
        _expectNoRegistration(stranger, Role.Party, ON_CURVE, IPrivateFederation.InvalidKey.selector);
    }

    function test_Register_RevertWhen_TheKeyOfAnAggregatorIsNotOnTheCurve() public {
        _admit(stranger, Role.Aggregator);
        _expectNoRegistration(stranger, Role.Aggregator, 0, IPrivateFederation.InvalidKey.selector);
        _expectNoRegistration(stranger, Role.Aggregator, OFF_CURVE, IPrivateFederation.InvalidKey.selector);
    }

    function test_Register_RevertWhen_AllTenSeatsAreTaken() public {
        for (uint256 i = AGGREGATORS; i < 10; ++i) {
            _join(_aggregator(i), Role.Aggregator, STAKE);
            assertEq(masked.seatHolder(uint8(i)), _aggregator(i));
        }
        _admit(stranger, Role.Aggregator);
        _expectNoRegistration(stranger, Role.Aggregator, ON_CURVE, IFederation.NoFreeSeat.selector);
    }

    function test_Register_WhenAPartyRegisters() public {
        _admit(stranger, Role.Party);
        vm.recordLogs();
        _register(stranger, Role.Party, STAKE);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], IFederation.Registered.selector);
        assertEq(_stakeOf(stranger), STAKE);
    }

    function test_Register_WhenAnAggregatorRegisters() public {
        _admit(stranger, Role.Aggregator);
        vm.deal(stranger, STAKE);
        vm.expectEmit(address(masked));
        emit IFederation.Registered(stranger, Role.Aggregator, owner, STAKE, uint8(AGGREGATORS));
        vm.expectEmit(address(masked));
        emit IPrivateFederation.KeySet(stranger, ON_CURVE);
        vm.prank(stranger);
        masked.register{value: STAKE}(Role.Aggregator, owner, ON_CURVE);
        assertEq(masked.seatHolder(uint8(AGGREGATORS)), stranger);
    }

    // ------------------------------------------------------------------ setKey

    function test_SetKey_RevertWhen_TheSenderIsNoAggregator() public {
        address[2] memory senders = [stranger, _party(0)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(IFederation.NotRegistered.selector);
            vm.prank(senders[i]);
            masked.setKey(ON_CURVE);
        }
    }

    function test_SetKey_RevertWhen_TheKeyIsNotOnTheCurve() public {
        bytes32[2] memory keys = [bytes32(0), OFF_CURVE];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(IPrivateFederation.InvalidKey.selector);
            vm.prank(_aggregator(0));
            masked.setKey(keys[i]);
        }
    }

    function test_SetKey_WhenTheAggregatorIsLeaving() public {
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _expectKeySet(_aggregator(0));
    }

    function test_SetKey_WhenTheKeyIsOnTheCurve() public {
        _expectKeySet(_aggregator(1));
    }

    // ------------------------------------------------------------------ announce

    function test_Announce_RevertWhen_TheMessageIsTooLong() public {
        vm.expectRevert(abi.encodeWithSelector(IPrivateFederation.AnnouncementTooLong.selector, 1025));
        masked.announce(new bytes(1025));
    }

    function test_Announce_WhenTheMessageIsShortEnough() public {
        bytes[3] memory messages = [bytes(""), "a message", new bytes(1024)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(masked));
            emit IPrivateFederation.Announced(stranger, messages[i]);
            vm.prank(stranger);
            masked.announce(messages[i]);
        }
    }

    // ------------------------------------------------------------------ helpers

    function _expectKeySet(address aggregator) private {
        vm.expectEmit(address(masked));
        emit IPrivateFederation.KeySet(aggregator, ON_CURVE);
        vm.prank(aggregator);
        masked.setKey(ON_CURVE);
    }

    function _expectNoRegistration(address account, Role role, bytes32 key, bytes4 reason) private {
        vm.deal(account, STAKE);
        vm.expectRevert(reason);
        vm.prank(account);
        masked.register{value: STAKE}(role, account, key);
    }
}
