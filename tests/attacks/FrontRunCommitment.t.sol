// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Result} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A party without data takes another's commitment out of the mempool, to be paid for its update.
contract FrontRunCommitmentTest is FederationTest {
    uint256 internal constant VICTIM = 0;
    uint256 internal constant THIEF = 1;

    /// @dev The thief is mined first, waits for the victim to reveal, and has the whole preimage then. It is not
    /// the thief's: the thief loses a tenth of its stake, and the victim is paid.
    function test_a_front_run_commitment_opens_for_its_party_only() public {
        _openRound();
        Update memory update = _update(VICTIM);
        bytes32 commitment = _commitment(update);
        vm.prank(_party(THIEF));
        federation.commit(1, commitment);
        _commit(VICTIM);
        _commit(2);
        _endPhase();

        Update[] memory honest = new Update[](2);
        (honest[0], honest[1]) = (update, _update(2));
        federation.reveal(honest);
        assertEq(_current().reveals, 2);
        Update memory stolen = _update(VICTIM);
        stolen.party = _party(THIEF);
        _expectNothingAccepted(IPlainFederation.CommitmentMismatch.selector);
        _reveal(stolen);

        _endPhase();
        Result memory result = _result();
        _attest(result, AGGREGATORS);
        federation.slashUnrevealed(_party(THIEF));
        assertEq(_stakeOf(_party(THIEF)), STAKE - STAKE / 10);
        assertEq(_stakeOf(_party(VICTIM)), STAKE);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, _counted(honest));
        assertEq(federation.observe(_party(THIEF)).credit, 0);
        assertEq(federation.observe(_party(VICTIM)).credit, REWARD * 8 / 10 / 2);
    }

    /// @dev A keeper's batch is in the mempool; the thief takes an item out and relays it under its own name.
    function test_a_signed_commit_cannot_be_relayed_under_another_name() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(VICTIM);
        signed.party = _party(THIEF);
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.commitFor(_only(signed));
    }
}
