// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IFederation, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice The owner, or whoever has its key, wants stakes, votes, or a round in progress. It admits accounts and
/// funds rewards, and that is all (G8).
contract OwnerOverreachTest is FederationTest {
    function test_the_owner_cannot_move_anybodys_money() public {
        _toFinal(3);
        address account = _party(0);
        vm.startPrank(owner);
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        federation.requestUnbond(account, Role.Party);
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        federation.withdraw(account, Role.Party);
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        federation.withdrawRewards(account);
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(account);
        vm.stopPrank();
        assertEq(owner.balance, 0);
    }

    function test_the_owner_has_no_vote_and_no_update() public {
        _openRound();
        vm.expectRevert(IFederation.NotRegistered.selector);
        vm.prank(owner);
        federation.commit(1, "some");
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
        (address signer, uint256 key) = makeAddrAndKey("owner");
        assertEq(signer, owner);
        Result memory result = _result();
        Signature[] memory signatures = _only(_sign(key, result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, signatures);
    }

    /// @dev Those it admits in the middle of a round have no part in it.
    function test_admitting_a_majority_does_not_change_a_round_in_progress() public {
        _toAttest(3);
        for (uint256 i = AGGREGATORS; i < 20; ++i) {
            _join(_aggregator(i), Role.Aggregator, 1_000 ether);
        }
        Result memory result = _result();
        _attest(result, 20);
        (uint64 signers, uint96 stake,) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 15);
        assertEq(stake, 4 * STAKE);
    }

    /// @dev Without an owner, rounds go on.
    function test_a_federation_needs_no_owner() public {
        vm.prank(owner);
        Ownable2Step(address(federation)).renounceOwnership();
        _toFinal(3);
        vm.expectRevert();
        vm.prank(owner);
        federation.admit(new address[](1), Role.Party);
    }
}
