// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Reenterer} from "../contracts/support/Receivers.sol";

/// @notice A challenger is a contract that, while it is paid, claims the next slash, its bond, and its payment again.
contract ReentrantDisputeTest is DisputeTest {
    uint256 internal constant SLASH = STAKE / 2;

    Reenterer internal attacker;

    function setUp() public override {
        super.setUp();
        attacker = new Reenterer();
        watcher = address(attacker);
    }

    /// @dev Whatever it calls, it gets every slash and its bond once.
    function test_no_slash_or_bond_is_paid_twice_by_entering_again() public {
        Evidence memory e = _acceptWrong();
        uint256 id = _demand(1, 0, 0);
        _challenge(e);
        _slash(e, 0);
        uint256 before = address(federation).balance;
        bytes[5] memory calls = [
            abi.encodeCall(IFederation.withdrawRewards, (watcher)),
            abi.encodeCall(IDisputes.slashSigner, (_digest(e), 0)),
            abi.encodeCall(IDisputes.slashSigner, (_digest(e), 1)),
            abi.encodeCall(IDisputes.settleBond, (id)),
            abi.encodeCall(IPlainFederation.expire, (id, e.result))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            uint256 snapshot = vm.snapshotState();
            attacker.prepare(address(federation), calls[i]);
            _withdrawAll(e, id);
            assertTrue(attacker.tried());
            assertEq(watcher.balance, AGGREGATORS * SLASH + BOND);
            assertEq(address(federation).balance, before - AGGREGATORS * SLASH - BOND);
            vm.revertToState(snapshot);
        }
    }

    /// @dev Entering again at the first payment; then everything that is left, in turn, each of it perhaps done before.
    function _withdrawAll(Evidence memory e, uint256 id) private {
        attacker.execute(address(federation), 0, abi.encodeCall(IFederation.withdrawRewards, (watcher)));
        attacker.prepare(address(federation), "");
        for (uint8 seat = 0; seat < AGGREGATORS; ++seat) {
            try disputes.slashSigner(_digest(e), seat) {} catch {}
        }
        try disputes.settleBond(id) {} catch {}
        attacker.execute(address(federation), 0, abi.encodeCall(IFederation.withdrawRewards, (watcher)));
    }
}
