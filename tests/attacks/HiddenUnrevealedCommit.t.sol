// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Params, Phase, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A party commits, does not reveal, and wants its slot overwritten before anybody slashes it.
contract HiddenUnrevealedCommitTest is FederationTest {
    /// @dev By the next commit, again and again: each costs a tenth of what is left.
    function test_an_unrevealed_commit_is_not_hidden_by_the_next_commit() public {
        _toReveal(3);
        _endPhase();
        uint256 stake = STAKE;
        for (uint256 i = 0; i < 3; ++i) {
            _openRound();
            _commitFirst(3);
            stake -= (stake + 9) / 10;
            assertEq(_stakeOf(_party(0)), stake);
            _endPhase();
            _endPhase();
            assertPhase(Phase.Void);
        }
    }

    /// @dev By a signed one that a keeper carries.
    function test_an_unrevealed_commit_is_not_hidden_by_a_relayed_one() public {
        _toReveal(3);
        _endPhase();
        _openRound();
        federation.commitFor(_only(_signedCommit(0)));
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
    }

    /// @dev By staying away for rounds, and leaving.
    function test_an_unrevealed_commit_is_not_forgotten() public {
        _toReveal(3);
        _endPhase();
        for (uint256 i = 0; i < 3; ++i) {
            _openRound();
            _commit(3);
            _commit(4);
            _endPhase();
            _reveal(_update(3));
            _reveal(_update(4));
            _attest(_result(), AGGREGATORS);
        }
        _requestUnbond(_party(0), Role.Party);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
    }
}
