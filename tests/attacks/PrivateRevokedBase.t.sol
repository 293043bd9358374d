// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Phase} from "../../contracts/interfaces/IFederation.sol";
import {PrivateResult, SignedClaim} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: the base of a private round is revoked while updates for it are masked, revealed or claimed, so that
/// two sums on one base, or a lock of a dead round, show more than one sum.
/// @dev In every phase the round is void at once: nothing more is revealed, locked or attested in it. The next round is
/// on another base, whose root is in the hash of its commits.
contract PrivateRevokedBaseAttack is PrivateTest {
    PrivateResult private base;

    function setUp() public override {
        super.setUp();
        base = _startAccepted(3);
        vm.deal(stranger, 1 ether);
        vm.prank(stranger);
        masked.demand{value: 1 ether}(1, 10, 0);
        vm.warp(block.timestamp + 1 hours);
    }

    function test_in_the_commit_phase() public {
        _openRound();
        _commitMasked(0);
        _revoke();
        vm.expectRevert(IFederation.WrongPhase.selector);
        this.commit(1);
        _goOn();
    }

    function test_in_the_reveal_phase() public {
        _startReveal(3);
        _revealMasked(0);
        _revoke();
        _expectNothingAccepted(IFederation.WrongPhase.selector);
        this.reveal(1);
        _goOn();
        // Who could not reveal owes nothing.
        vm.expectRevert(IFederation.NotSlashable.selector);
        masked.slashUnrevealed(_party(1));
    }

    function test_in_the_claim_phase() public {
        _startClaim(3);
        _claimAll(2, 7);
        SignedClaim memory last = _signedClaim(2, 7);
        _revoke();
        vm.expectRevert(IFederation.WrongPhase.selector);
        masked.claim(_only(last));
        assertEq(_private().locked, 0);
        _goOn();
    }

    function test_in_the_attest_phase() public {
        _startAttest(3);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        _revoke();
        vm.expectRevert(IFederation.WrongPhase.selector);
        this.attest(signed, seeds);
        _goOn();
    }

    function test_after_acceptance() public {
        PrivateResult memory signed = _startAccepted(3);
        _revoke();
        assertEq(masked.head().height, 0);
        vm.expectRevert(IFederation.UnknownResult.selector);
        signed.seedsHash = 0;
        masked.distribute(signed, _countedMasked(2, 3, 3));
        _goOn();
    }

    function commit(uint256 i) external {
        _commitMasked(i);
    }

    function reveal(uint256 i) external {
        _revealMasked(i);
    }

    function attest(PrivateResult memory signed, bytes memory seeds) external {
        _attest(signed, seeds, 3);
    }

    /// @dev Nobody has shown the model of the base, so its round is revoked, in the phase of now.
    function _revoke() private {
        vm.expectEmit(address(masked));
        emit IDisputes.RoundRevoked(1, 1);
        masked.expire(1, base);
        assertPhase(Phase.Void);
    }

    function _goOn() private {
        bytes32 genesis = masked.model(0).root;
        _openRound();
        assertEq(_current().baseRoot, genesis);
        assertEq(_private().commitsHash, 0);
        _commitMasked(0);
        bytes32 rolled =
            keccak256(abi.encode(genesis, uint256(uint160(_party(0))) << 96 | _weight(0), _maskKey(0)));
        assertEq(_private().commitsHash, rolled);
    }
}
