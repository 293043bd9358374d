// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A slash that finds less than it wants (stake below the amount, slashed before, party gone) blocks nothing.
/// Of signers, see BrickingFraudSlash.
contract BrickingSlashTest is FederationTest {
    /// @dev Everybody is slashed to nothing. They may come back, and the next round opens.
    function test_a_slash_never_blocks_the_next_round() public {
        _redeployWithWholeSlash();
        _toReveal(PARTIES);
        _endPhase();
        for (uint256 i = 0; i < PARTIES; ++i) {
            federation.slashUnrevealed(_party(i));
            assertEq(_stakeOf(_party(i)), 0);
        }
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotEnoughParties.selector, 0, 2));
        federation.openRound();
        for (uint256 i = 0; i < 2; ++i) {
            _register(_party(i), Role.Party, MIN_STAKE);
        }
        _toAccepted(2);
        assertEq(_current().partyStake, 2 * MIN_STAKE);
    }

    /// @dev A slash in the round that the slashed party takes part in does not take its place in it.
    function test_a_slash_leaves_the_frozen_round_alone() public {
        _redeployWithWholeSlash();
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

    /// @dev One slash for one commit, by whichever of the ways comes first.
    function test_a_commit_is_slashed_once() public {
        _toReveal(4);
        _endPhase();
        federation.slashUnrevealed(_party(0));
        _openRound();
        _commitFirst(3);
        _requestUnbond(_party(0), Role.Party);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
        assertEq(_stakeOf(_party(1)), STAKE - STAKE / 10);
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(0));
    }

    /// @dev It has left, and comes back: what it owed it paid when it left.
    function test_a_party_that_has_gone_owes_nothing() public {
        _redeployWithWholeSlash();
        _toReveal(3);
        _requestUnbond(_party(0), Role.Party);
        _endPhase();
        skip(2 days);
        _openRound();
        _withdraw(_party(0), Role.Party);
        assertEq(_beneficiary(_party(0)).balance, 0);
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(0));
        _register(_party(0), Role.Party, STAKE);
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), STAKE);
    }

    function _redeployWithWholeSlash() private {
        Params memory p = _consortium();
        p.unrevealedSlashBps = 10_000;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
    }
}
