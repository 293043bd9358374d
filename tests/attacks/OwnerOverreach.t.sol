// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IFederation, Phase, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice The owner, or whoever has its key, wants stakes, votes, or a round in progress. It admits and removes
/// accounts and funds rewards, and that is all (G8).
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

    /// @dev It removes everybody in the middle of a round, and gets nothing: the round ends as it would have.
    function test_removing_everybody_does_not_change_a_round_in_progress() public {
        _openRound();
        _commitFirst(2);
        _removeAll(Role.Party, PARTIES);
        _commit(2);
        _endPhase();
        _removeAll(Role.Aggregator, AGGREGATORS);
        _revealFirst(3);
        _attest(_result(), AGGREGATORS);
        assertPhase(Phase.Accepted);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotEnoughParties.selector, 0, 2));
        federation.openRound();
        vm.warp(_observe().finalizableAt + 2 days);
        federation.finalize();
        for (uint256 i = 0; i < PARTIES; ++i) {
            _withdraw(_party(i), Role.Party);
            assertEq(_beneficiary(_party(i)).balance, STAKE);
        }
        assertEq(owner.balance, 0);
    }

    /// @dev Those who need no admission cannot be sent away, not even after they were admitted.
    function test_nobody_is_removed_from_an_open_federation() public {
        federation = _deploy(_crowd());
        _register(_party(0), Role.Party, STAKE);
        _admit(_party(0), Role.Party);
        vm.expectRevert(IFederation.NotAdmitted.selector);
        vm.prank(owner);
        federation.remove(_party(0), Role.Party);
    }

    function _removeAll(Role role, uint256 count) private {
        for (uint256 i = 0; i < count; ++i) {
            address account = role == Role.Party ? _party(i) : _aggregator(i);
            vm.prank(owner);
            federation.remove(account, role);
        }
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
