// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Signature} from "../../contracts/interfaces/IFederation.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateResult,
    SignedClaim,
    SignedMaskedCommit
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "../contracts/support/PrivateTest.sol";

/// @notice Attack: what was signed for one round, federation or chain is sent to another. A mask key that is used twice
/// would show the difference of two updates.
contract PrivateReplayAttack is PrivateTest {
    function test_nothing_that_was_signed_counts_in_another_round() public {
        _startReveal(3);
        SignedMaskedCommit memory commit = _maskedCommit(0);
        MaskedUpdate memory update = _maskedUpdate(0);
        for (uint256 i = 0; i < 3; ++i) {
            _revealMasked(i);
        }
        SignedClaim memory claim = _signedClaim(0, 7);
        _claimAll(AGGREGATORS, 7);
        (PrivateResult memory signed, bytes memory seeds) = _privateResult(7);
        Signature[] memory signatures = _signatures(signed, AGGREGATORS);
        vm.warp(_current().attestEnd);

        _openRound();
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        masked.commitFor(_only(commit));
        for (uint256 i = 0; i < 3; ++i) {
            _commitMasked(i);
        }
        vm.warp(_current().commitEnd);
        bytes32 commitsHash = _private().commitsHash;
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        masked.reveal(commitsHash, _only(update));
        for (uint256 i = 0; i < 3; ++i) {
            _revealMasked(i);
        }
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        masked.claim(_only(claim));
        _claimAll(AGGREGATORS, 7);
        vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 2));
        masked.attest(signed, seeds, signatures);
    }

    function test_nothing_that_was_signed_counts_in_another_federation_or_on_another_chain() public {
        IPrivateFederation first = masked;
        _openRound();
        SignedMaskedCommit memory commit = _maskedCommit(0);

        _use(_deployPrivate(_terms(), _privateTerms()));
        _populate(PARTIES, AGGREGATORS);
        _openRound();
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        masked.commitFor(_only(commit));

        vm.chainId(block.chainid + 1);
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        first.commitFor(_only(commit));
    }

    /// @dev The bases are others, and so is the hash of the same commits.
    function test_a_reveal_for_another_base_is_refused() public {
        _startReveal(3);
        bytes32 before = _private().commitsHash;
        MaskedUpdate memory update = _maskedUpdate(0);
        vm.expectRevert(IPrivateFederation.StaleCommits.selector);
        masked.reveal(keccak256(abi.encode(before)), _only(update));
        assertPhase(Phase.Reveal);
    }

    /// @dev A copy of a masked file cannot be unmasked: no seat can read the copy's seal. So it is no theft, and must
    /// not make the victim's own update a duplicate.
    function test_a_thief_in_the_mempool_does_not_displace_its_victim() public {
        _startReveal(3);
        MaskedUpdate memory stolen = _maskedUpdate(0);
        MaskedUpdate memory copy = MaskedUpdate(_party(1), stolen.root, stolen.cid, 0, 0);
        bytes32 commitsHash = _private().commitsHash;
        vm.prank(_party(1));
        masked.reveal(commitsHash, _only(copy));
        _reveal(stolen);
        assertEq(_current().reveals, 2);
    }
}
