// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Somebody wants an honest party slashed for a commit that its void round never let it reveal.
contract HonestCommitOfVoidRoundTest is FederationTest {
    /// @dev A round that is void for lack of commits asked for no reveal: at no later time is there a slash.
    function test_an_honest_commit_of_a_void_round_is_never_slashed() public {
        _openRound();
        _commit(0);
        _endPhase();
        assertPhase(Phase.Void);
        skip(30 days);
        _attackInVain();
        _openRound();
        _attackInVain();
        _commit(0);
        _commit(1);
        _endPhase();
        _reveal(_update(0));
        _endPhase();
        assertPhase(Phase.Void);
        _attackInVain();
        _openRound();
        _attackInVain();
    }

    /// @dev Nor for a later round, in which others did not reveal: those pay.
    function test_a_commit_of_a_void_round_is_not_slashed_for_a_later_round() public {
        _openRound();
        _commit(0);
        _endPhase();
        _openRound();
        _commit(1);
        _commit(2);
        _endPhase();
        _endPhase();
        assertPhase(Phase.Void);
        _attackInVain();
        federation.slashUnrevealed(_party(1));
        assertEq(_stakeOf(_party(1)), STAKE - STAKE / 10);
        _openRound();
        _attackInVain();
    }

    /// @dev Nor before the reveal phase is over, nor once it has revealed.
    function test_a_commit_that_is_revealed_in_time_is_never_slashed() public {
        _toReveal(3);
        vm.warp(_current().revealEnd - 1);
        _attackInVain();
        _reveal(_update(0));
        _endPhase();
        assertPhase(Phase.Void);
        _attackInVain();
        _openRound();
        _attackInVain();
    }

    function _attackInVain() private {
        assertFalse(federation.observe(_party(0)).unrevealedSlashable);
        vm.expectRevert(IFederation.NotSlashable.selector);
        vm.prank(stranger);
        federation.slashUnrevealed(_party(0));
        assertEq(_stakeOf(_party(0)), STAKE);
    }
}
