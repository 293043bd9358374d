// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Phase, Result} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A party without data commits to another's update, under its own name and CID (G1).
contract CopiedRootTest is FederationTest {
    uint256 internal constant VICTIM = 0;
    uint256 internal constant THIEF = 1;

    /// @dev The thief knows the victim's root before the commit phase has closed (the victim was careless), but
    /// the victim reveals first: the copy is opened, uncounted, and unpaid.
    function test_a_copied_root_revealed_second_does_not_count() public {
        _openRound();
        Update memory copy = _updateOf(_party(THIEF), _update(VICTIM).root);
        _commitTo(copy);
        _commit(VICTIM);
        _commit(2);
        _endPhase();
        Update[] memory honest = new Update[](2);
        (honest[0], honest[1]) = (_update(VICTIM), _update(2));
        federation.reveal(honest);
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(1, _party(THIEF), copy.root);
        _reveal(copy);
        assertEq(_current().reveals, 2);

        Result memory result = _result();
        _attest(result, AGGREGATORS);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, _counted(honest));
        assertEq(federation.observe(_party(THIEF)).credit, 0);
        assertEq(federation.observe(_party(VICTIM)).credit, REWARD * 8 / 10 / 2);
    }

    /// @dev Another CID and the highest weight do not make another update of the same numbers.
    function test_a_copy_under_another_cid_is_a_copy() public {
        _openRound();
        Update memory copy = _updateOf(_party(THIEF), _update(VICTIM).root);
        (copy.cid.codec, copy.cid.digest, copy.weight) = (DAG_PB, "another packing", 255);
        _commitTo(copy);
        _commit(VICTIM);
        _endPhase();
        _reveal(_update(VICTIM));
        _reveal(copy);
        assertEq(_current().opened, 2);
        assertEq(_current().reveals, 1);
    }

    /// @dev In later rounds, the root of an accepted one does not count, for nobody.
    function test_a_root_of_an_accepted_round_never_counts_again() public {
        _toAttest(3);
        bytes32 root = _update(VICTIM).root;
        _attest(_result(), AGGREGATORS);
        for (uint256 i = 0; i < 3; ++i) {
            _openRound();
            Update memory copy = _updateOf(_party(THIEF), root);
            _commitTo(copy);
            _commit(2);
            _commit(3);
            _endPhase();
            vm.expectEmit(address(federation));
            emit IPlainFederation.DuplicateUpdate(_round(), _party(THIEF), root);
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
}
