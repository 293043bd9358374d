// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Role, SignedCommit, Update} from "../../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../support/FederationTest.sol";

/// @notice An update counts once, under its own name (G1); a commitment that is not opened costs.
contract CopiedCommitmentsTest is FederationTest {
    uint256 internal constant VICTIM = 0;
    uint256 internal constant THIEF = 1;

    /// @dev The thief sees the victim's commitment in the mempool, and is mined first.
    function test_a_front_run_commitment_opens_for_its_party_only() public {
        _openRound();
        Update memory update = _update(VICTIM);
        bytes32 commitment = _commitment(update);
        vm.prank(_party(THIEF));
        federation.commit(commitment);
        _commit(VICTIM);
        _commit(2);
        _endPhase();

        // The victim reveals, and the thief learns the preimage: it is not the thief's.
        _reveal(update);
        assertEq(_current().reveals, 1);
        Update memory stolen = update;
        stolen.party = _party(THIEF);
        _expectNothingAccepted(IFederation.CommitmentMismatch.selector);
        _reveal(stolen);

        _reveal(_update(2));
        _endPhase();
        federation.slashUnrevealed(_party(THIEF));
        assertEq(_stakeOf(_party(THIEF)), STAKE - STAKE / 10);
        assertEq(_stakeOf(_party(VICTIM)), STAKE);
    }

    /// @dev A keeper's batch is in the mempool; the thief takes an item out and relays it under its own name.
    function test_a_signed_commit_cannot_be_relayed_under_another_name() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(VICTIM);
        signed.party = _party(THIEF);
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.commitFor(_only(signed));
    }

    /// @dev The thief knows the victim's root before the commit phase has closed (the victim was careless),
    /// commits to it under its own name, and waits: the victim reveals first.
    function test_a_copied_root_revealed_second_does_not_count() public {
        _toRevealWithCopy();
        _reveal(_update(VICTIM));
        vm.expectEmit(address(federation));
        emit IFederation.DuplicateUpdate(1, _party(THIEF), _update(VICTIM).root);
        _reveal(_copy());
        assertEq(_current().reveals, 1);
    }

    /// @dev In a later round, the root of an accepted one does not count, for nobody.
    function test_a_root_of_an_accepted_round_never_counts_again() public {
        bytes32 root = _firstRoot();
        for (uint256 i = 0; i < 3; ++i) {
            _openRound();
            Update memory copy = _updateOf(_party(THIEF), root);
            bytes32 commitment = _commitment(copy);
            vm.prank(_party(THIEF));
            federation.commit(commitment);
            _commit(2);
            _commit(3);
            _endPhase();
            vm.expectEmit(address(federation));
            emit IFederation.DuplicateUpdate(_round(), _party(THIEF), root);
            _reveal(copy);
            _reveal(_update(2));
            _reveal(_update(3));
            assertEq(_current().reveals, 2);
            _attest(_result(), AGGREGATORS);
        }
    }

    /// @dev A void round has made its updates public: they still belong to those who made them. The thief, who
    /// reveals first in the next round, has nothing; the victim counts.
    function test_a_root_of_a_void_round_is_not_there_for_the_taking() public {
        _toReveal(2);
        Update memory update = _update(VICTIM);
        _reveal(update);
        _endPhase();
        assertPhase(Phase.Void);

        _openRound();
        Update memory copy = _updateOf(_party(THIEF), update.root);
        _commitTo(copy);
        _commitTo(update);
        _commit(2);
        _endPhase();
        _reveal(copy);
        assertEq(_current().reveals, 0);
        _reveal(update);
        _reveal(_update(2));
        assertEq(_current().reveals, 2);
    }

    /// @dev The same numbers in another packing have the same root: the CID does not make another update.
    function test_a_re_encoded_copy_is_a_copy() public {
        _openRound();
        Update memory copy = _copy();
        copy.cid.codec = DAG_PB;
        copy.cid.digest = "another packing";
        copy.weight = 255;
        _commitTo(copy);
        _commit(VICTIM);
        _endPhase();
        _reveal(_update(VICTIM));
        _reveal(copy);
        assertEq(_current().opened, 2);
        assertEq(_current().reveals, 1);
    }

    /// @dev A commit that was not revealed cannot be hidden by the next commit, nor by many.
    function test_an_unrevealed_commit_is_not_hidden_by_the_next_commit() public {
        _toReveal(3);
        _endPhase();
        uint256 stake = STAKE;
        for (uint256 i = 0; i < 3; ++i) {
            _openRound();
            _commitFirst(3);
            uint256 slash = (stake + 9) / 10;
            stake -= slash;
            assertEq(_stakeOf(_party(0)), stake);
            _endPhase();
            _endPhase();
            assertPhase(Phase.Void);
        }
    }

    /// @dev Neither by a signed one that a keeper carries.
    function test_an_unrevealed_commit_is_not_hidden_by_a_relayed_one() public {
        _toReveal(3);
        _endPhase();
        _openRound();
        federation.commitFor(_only(_signedCommit(0)));
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
    }

    /// @dev Whoever commits to what can never be revealed (zero root, CID, weight; out-of-range weight) pays
    /// like whoever does not reveal.
    function test_an_update_that_cannot_be_revealed_costs_its_party() public {
        for (uint256 kind = 0; kind < 5; ++kind) {
            Update memory update = _updateOf(_party(0), keccak256(abi.encode("odd", kind)));
            if (kind == 0) update.weight = 0;
            if (kind == 1) update.weight = 256;
            if (kind == 2) update.root = 0;
            if (kind == 3) update.cid.digest = 0;
            if (kind == 4) update.cid.codec = 0x12;
            _openRound();
            _commitTo(update);
            _commit(2);
            _commit(3);
            _endPhase();
            bytes4[5] memory reasons = [
                IFederation.InvalidWeight.selector,
                IFederation.InvalidWeight.selector,
                IFederation.ZeroRoot.selector,
                IFederation.InvalidCid.selector,
                IFederation.InvalidCid.selector
            ];
            _expectNothingAccepted(reasons[kind]);
            _reveal(update);
            _reveal(_update(2));
            _reveal(_update(3));
            _endPhase();
            uint96 before = _stakeOf(_party(0));
            federation.slashUnrevealed(_party(0));
            assertEq(_stakeOf(_party(0)), before - (before + 9) / 10);
            _endPhase();
        }
    }

    /// @dev A round that is void for lack of commits never asked for a reveal.
    function test_an_honest_commit_of_a_void_round_is_never_slashed() public {
        _openRound();
        _commit(0);
        _endPhase();
        assertPhase(Phase.Void);
        skip(30 days);
        _expectNotSlashable();
        _openRound();
        _expectNotSlashable();
        _commit(0);
        _commit(1);
        _endPhase();
        _reveal(_update(0));
        _endPhase();
        assertPhase(Phase.Void);
        _expectNotSlashable();
        _openRound();
        _expectNotSlashable();
        assertEq(_stakeOf(_party(0)), STAKE);
    }

    /// @dev Nor for a later round in which others did not reveal.
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
        assertFalse(federation.observe(_party(0)).unrevealedSlashable);
        _expectNotSlashable();
        federation.slashUnrevealed(_party(1));
        _openRound();
        _expectNotSlashable();
    }

    /// @dev One slash for one commit, by whichever of the four ways comes first.
    function test_a_commit_is_slashed_once() public {
        _toReveal(4);
        _endPhase();
        federation.slashUnrevealed(_party(0));
        _openRound();
        for (uint256 i = 0; i < 3; ++i) {
            _commit(i);
        }
        _requestUnbond(_party(0), Role.Party);
        assertEq(_stakeOf(_party(0)), STAKE - STAKE / 10);
        assertEq(_stakeOf(_party(1)), STAKE - STAKE / 10);
        _expectNotSlashable();
    }

    // ------------------------------------------------------------------ steps

    function _commitTo(Update memory update) private {
        bytes32 commitment = _commitment(update);
        vm.prank(update.party);
        federation.commit(commitment);
    }

    function _copy() private view returns (Update memory) {
        return _updateOf(_party(THIEF), _update(VICTIM).root);
    }

    function _toRevealWithCopy() private {
        _openRound();
        _commitTo(_copy());
        _commit(VICTIM);
        _endPhase();
    }

    /// @dev The root of the first party in the first round, which is accepted.
    function _firstRoot() private returns (bytes32 root) {
        _toAttest(3);
        root = _update(0).root;
        _attest(_result(), AGGREGATORS);
    }

    function _expectNotSlashable() private {
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(0));
    }
}
