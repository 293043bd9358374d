// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See Finality.tree.
contract FinalityTest is FederationTest {
    function test_Finalize_RevertWhen_NoRoundWasAccepted() public {
        _expectNotFinalizable();
        _toAttest(3);
        _attest(_result(), 2);
        skip(30 days);
        _expectNotFinalizable();
    }

    function test_Finalize_RevertWhen_TheChallengeWindowIsNotOver() public {
        _toAccepted(3);
        uint256 windowEnd = _current().attestEnd + 1 days;
        assertEq(_observe().finalizableAt, windowEnd);
        vm.warp(windowEnd - 1);
        _expectNotFinalizable();
    }

    function test_Finalize_RevertWhen_EveryAcceptedRoundIsFinal() public {
        _toFinal(3);
        assertEq(_observe().finalizableAt, 0);
        _expectNotFinalizable();
    }

    function test_Finalize_WhenAVoidRoundLiesBetween() public {
        _toFinal(3);
        _openRound();
        _endPhase();
        _toAccepted(3);
        skip(30 days);
        vm.expectEmit(address(federation));
        emit IFederation.RoundFinal(3, 2);
        federation.finalize();
    }

    function test_Finalize_WhenSeveralWindowsAreOver() public {
        _toAccepted(3);
        _toAccepted(3);
        skip(30 days);
        for (uint32 height = 1; height <= 2; ++height) {
            vm.expectEmit(address(federation));
            emit IFederation.RoundFinal(height, height);
            federation.finalize();
            assertEq(_observe().finalHeight, height);
        }
        _expectNotFinalizable();
    }

    function test_Finalize_WhenTheChallengeWindowIsOver() public {
        _toAccepted(3);
        vm.warp(_current().attestEnd + 1 days);
        vm.expectEmit(address(federation));
        emit IFederation.RoundFinal(1, 1);
        vm.prank(stranger);
        federation.finalize();
        assertEq(_observe().finalHeight, 1);
    }

    /// @dev Rounds that follow one another within a window become final in their order, never before theirs.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_RoundsBecomeFinalInTheirOrder(uint32[4] memory waits) public {
        uint256[] memory windowEnds = new uint256[](5);
        for (uint256 height = 1; height <= 4; ++height) {
            _toAccepted(2);
            windowEnds[height] = _current().attestEnd + 1 days;
            assertGe(windowEnds[height], windowEnds[height - 1]);
            skip(waits[height - 1] % 1 days);
            while (_observe().finalizableAt != 0 && block.timestamp >= _observe().finalizableAt) {
                federation.finalize();
            }
            uint256 finalHeight = _observe().finalHeight;
            assertLe(windowEnds[finalHeight], block.timestamp);
            if (finalHeight < height) {
                assertGt(windowEnds[finalHeight + 1], block.timestamp);
                _expectNotFinalizable();
            }
        }
    }

    function _expectNotFinalizable() private {
        vm.expectRevert(IFederation.NotFinalizable.selector);
        federation.finalize();
    }
}
