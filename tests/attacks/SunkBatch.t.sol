// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Somebody puts one bad item into a batch, or sends one of its items first, so that the others are lost
/// with it.
contract SunkBatchTest is FederationTest {
    /// @dev Somebody sends one item of each batch first, to make the keeper's transaction fail.
    function test_a_front_run_item_does_not_sink_a_batch() public {
        _openRound();
        SignedCommit[] memory commits = new SignedCommit[](3);
        for (uint256 i = 0; i < 3; ++i) {
            commits[i] = _signedCommit(i);
        }
        federation.commitFor(_only(commits[1]));
        federation.commitFor(commits);
        assertEq(_current().commits, 3);
        _endPhase();

        Update[] memory updates = _updates(3);
        _reveal(updates[1]);
        federation.reveal(updates);
        assertEq(_current().reveals, 3);

        Result memory result = _result();
        Signature[] memory signatures = _signatures(result, 3);
        federation.attest(result, _only(signatures[1]));
        federation.attest(result, signatures);
        assertPhase(Phase.Accepted);
    }

    /// @dev A party that signs a commit for the keeper and sends another one itself.
    function test_a_party_that_commits_twice_does_not_sink_a_batch() public {
        _openRound();
        SignedCommit[] memory commits = new SignedCommit[](3);
        for (uint256 i = 0; i < 3; ++i) {
            commits[i] = _signedCommit(i);
        }
        vm.prank(_party(0));
        federation.commit(1, "another");
        federation.commitFor(commits);
        assertEq(_current().commits, 3);
        assertEq(federation.observe(_party(0)).committed.commitment, bytes26("another"));
    }

    /// @dev Whatever stands first, the reason of a batch that fails is its own; the others get in later.
    function test_a_batch_of_nothing_but_bad_items_changes_nothing() public {
        _openRound();
        SignedCommit[] memory commits = new SignedCommit[](2);
        commits[0] = _signedCommit(0);
        commits[0].commitment = 0;
        commits[1] = SignedCommit(stranger, "some", 0, 0);
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.commitFor(commits);
        assertEq(_current().commits, 0);
        federation.commitFor(_only(_signedCommit(0)));
    }

    /// @dev The same update many times over counts once.
    function test_repeated_items_count_once() public {
        _toReveal(3);
        Update[] memory batch = new Update[](20);
        for (uint256 i = 0; i < 20; ++i) {
            batch[i] = _update(0);
        }
        federation.reveal(batch);
        assertEq(_current().opened, 1);
        assertEq(_current().reveals, 1);
    }

    /// @dev An unbonding aggregator, one that left, and one with a seat since the freeze, in one batch.
    function test_signers_of_every_kind_do_not_sink_a_batch() public {
        _requestUnbond(_aggregator(3), Role.Aggregator);
        federation.openRound();
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _join(_aggregator(4), Role.Aggregator, STAKE);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
        Result memory result = _result();
        _attest(result, 5);
        (uint64 signers,, bool accepted) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 7);
        assertTrue(accepted);
    }
}
