// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase} from "../../contracts/interfaces/IFederation.sol";
import {PrivateResult} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: a round is locked, its sum is opened, and then it gets no result: a second lock on the same base
/// would show the difference of two sums.
/// @dev The contract cannot know what was opened. It keeps what the seats need to refuse another list: the last lock of
/// a round in its events, the same base, and no leftover of the lock in the next round.
contract PrivateVoidAfterLockAttack is PrivateTest {
    function test_the_lock_of_a_void_round_does_not_count_in_the_next_one() public {
        _startAttest(4);
        bytes32 baseRoot = _current().baseRoot;
        assertEq(_private().locked, 15);
        vm.warp(_current().attestEnd);
        assertPhase(Phase.Void);
        assertEq(_private().locked, 15);

        _startClaim(3);
        assertEq(_current().baseRoot, baseRoot);
        assertEq(_private().locked, 0);
        vm.warp(_private().claimEnd);
        assertPhase(Phase.Void);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        vm.expectRevert(IFederation.WrongPhase.selector);
        this.attest(signed, seeds);
    }

    function test_a_lock_does_not_change_after_its_phase() public {
        _startClaim(4);
        _claimAll(3, 7);
        vm.warp(_private().claimEnd);
        uint128 locked = _private().locked;
        vm.expectRevert(IFederation.WrongPhase.selector);
        this.claim(3, 15);
        vm.warp(_current().attestEnd - 1);
        assertEq(_private().locked, locked);
    }

    function attest(PrivateResult memory signed, bytes memory seeds) external {
        _attest(signed, seeds, AGGREGATORS);
    }

    function claim(uint256 i, uint128 held) external {
        _claim(i, held);
    }
}
