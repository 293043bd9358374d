// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A member of a consortium stays away, so that every round lasts its whole commit period; or others use the
/// remedy to end a commit phase without a member that is there.
contract AbsentMemberTest is FederationTest {
    uint256 internal constant ABSENT = PARTIES - 1;

    /// @dev Three rounds take their whole commit period, the next ones as long as the others need.
    function test_an_absent_member_delays_three_rounds() public {
        for (uint256 n = 0; n < 6; ++n) {
            _openRound();
            uint256 deadline = _current().commitEnd;
            skip(10);
            _commitFirst(ABSENT);
            if (n < 3) vm.warp(deadline);
            assertPhase(Phase.Reveal);
            assertEq(_current().commitEnd, n < 3 ? deadline : block.timestamp);
            if (n == 2) federation.markAbsent(_party(ABSENT));
            _revealFirst(ABSENT);
            _attest(_result(), AGGREGATORS);
        }
        assertEq(_stakeOf(_party(ABSENT)), STAKE);
    }

    /// @dev It commits in the last moment of each round; nobody can mark it at any time.
    function test_a_slow_member_is_waited_for() public {
        for (uint256 n = 0; n < 5; ++n) {
            _openRound();
            _commitFirst(ABSENT);
            vm.warp(_current().commitEnd - 1);
            _expectNotMissing();
            _commit(ABSENT);
            _expectNotMissing();
            _revealFirst(PARTIES);
            _attest(_result(), AGGREGATORS);
            _expectNotMissing();
        }
    }

    /// @dev The others are faster than a member that comes back: it first wishes to be waited for, then trains.
    function test_a_slow_member_comes_back_among_fast_ones() public {
        _mark();
        _openRound();
        uint32 round = _round();
        vm.prank(_party(ABSENT));
        federation.commit(round, 0);
        _commitFirst(ABSENT);
        vm.warp(_current().commitEnd - 1);
        _commit(ABSENT);
        assertPhase(Phase.Reveal);
        assertEq(_current().commits, PARTIES);
    }

    /// @dev A member that is marked commits without being waited for, or leaves first: either way, the phase does not
    /// end before those who are there have committed.
    function test_a_marked_member_takes_nobodys_place() public {
        _mark();
        for (uint256 leaves = 0; leaves < 2; ++leaves) {
            uint256 state = vm.snapshotState();
            _openRound();
            if (leaves == 1) _requestUnbond(_party(ABSENT), Role.Party);
            _commit(ABSENT);
            _commitFirst(ABSENT - 1);
            assertPhase(Phase.Commit);
            _commit(ABSENT - 1);
            assertPhase(Phase.Reveal);
            vm.revertToState(state);
        }
    }

    /// @dev While the chain, or the way to it, was down for everybody, nobody was absent.
    function test_an_outage_marks_nobody() public {
        for (uint256 n = 0; n < 4; ++n) {
            _openRound();
            vm.warp(_current().commitEnd);
            for (uint256 i = 0; i < PARTIES; ++i) {
                vm.expectRevert(IFederation.NotMissing.selector);
                federation.markAbsent(_party(i));
            }
        }
    }

    function _mark() private {
        for (uint256 n = 0; n < 3; ++n) {
            _toReveal(ABSENT);
            if (n == 2) federation.markAbsent(_party(ABSENT));
            _revealFirst(ABSENT);
            _attest(_result(), AGGREGATORS);
        }
    }

    function _expectNotMissing() private {
        vm.expectRevert(IFederation.NotMissing.selector);
        federation.markAbsent(_party(ABSENT));
    }
}
