// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase} from "../../contracts/interfaces/IFederation.sol";
import {Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";

/// @notice The base of a round is revoked while honest parties have commits in it, which they now cannot, or do not want
/// to, reveal. Somebody wants them slashed for that.
contract HonestCommitOfRevokedRoundTest is DisputeTest {
    /// @dev Revoked in the commit phase, in the reveal phase, or when some have revealed: nobody owes anything.
    function test_a_commit_whose_base_was_revoked_is_never_slashed() public {
        for (uint256 moment = 0; moment < 3; ++moment) {
            _start(_consortium());
            Evidence memory wrong = _acceptWrong();
            _openRound();
            _commitFirst(3);
            if (moment > 0) _endPhase();
            if (moment > 1) _reveal(_update(0));
            _challenge(wrong);
            assertPhase(Phase.Void);
            Update memory update = _update(1);
            _expectNothingAccepted(IFederation.WrongPhase.selector);
            _reveal(update);
            _slashInVain(3);
            skip(30 days);
            _slashInVain(3);
            // The next round opens on the old base, and they take part.
            _toAttest(3);
            _slashInVain(3);
        }
    }

    /// @dev Whoever had let the deadline pass while the base was canonical owes for it: a revocation is no amnesty.
    function test_a_revocation_does_not_excuse_what_was_due_before() public {
        Evidence memory wrong = _acceptWrong();
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        vm.warp(_current().revealEnd);
        _challenge(wrong);
        assertPhase(Phase.Void);
        _slashInVain(2);
        federation.slashUnrevealed(_party(2));
        assertEq(_stakeOf(_party(2)), STAKE - STAKE / 10);
    }

    /// @dev By a stranger, of the first parties.
    function _slashInVain(uint256 parties) private {
        for (uint256 i = 0; i < parties; ++i) {
            vm.expectRevert(IFederation.NotSlashable.selector);
            vm.prank(stranger);
            federation.slashUnrevealed(_party(i));
            assertEq(_stakeOf(_party(i)), STAKE);
        }
    }
}
