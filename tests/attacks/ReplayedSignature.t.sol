// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Somebody carries a signature to another place. It speaks for one account, in one role, in one round of one
/// federation on one chain.
contract ReplayedSignatureTest is FederationTest {
    function test_a_commit_of_another_round_is_refused() public {
        _openRound();
        SignedCommit memory old = _signedCommit(0);
        _endPhase();
        _openRound();
        _expectRefused(old);
    }

    /// @dev A signature for a round to come does not count before, and does then.
    function test_a_commit_of_a_later_round_waits_for_it() public {
        _openRound();
        bytes32 commitment = keccak256("some");
        bytes32 digest = federation.commitDigest(2, _party(0), commitment);
        (bytes32 r, bytes32 vs) = vm.signCompact(_partyKey(0), digest);
        SignedCommit memory signed = SignedCommit(_party(0), commitment, r, vs);
        _expectRefused(signed);
        _endPhase();
        _openRound();
        federation.commitFor(_only(signed));
        assertEq(_current().commits, 1);
    }

    /// @dev A block producer holds a party's own transaction back until the next round, in which the party could not
    /// open what it has committed to, and would be slashed.
    function test_a_commit_that_is_mined_a_round_late_is_refused() public {
        _openRound();
        bytes32 commitment = _commitment(_update(0));
        _endPhase();
        _openRound();
        vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 2));
        vm.prank(_party(0));
        federation.commit(1, commitment);
    }

    function test_a_commit_of_another_federation_is_refused() public {
        IPlainFederation first = federation;
        _openRound();
        SignedCommit memory signed = _signedCommit(0);
        federation = _deploy(_consortium());
        _populate(PARTIES, AGGREGATORS);
        _openRound();
        _expectRefused(signed);
        first.commitFor(_only(signed));
    }

    /// @dev Even a chain that forked off, where the contract has the same address and state.
    function test_a_commit_of_another_chain_is_refused() public {
        _openRound();
        SignedCommit memory signed = _signedCommit(0);
        uint256 chain = block.chainid;
        vm.chainId(chain - 1);
        _expectRefused(signed);
        vm.chainId(chain + 1);
        _expectRefused(signed);
        // The fork's own signatures count there.
        federation.commitFor(_only(_signedCommit(0)));
    }

    /// @dev The preimage has the chain and the federation too: a commitment carried over cannot be opened.
    function test_a_commitment_of_another_chain_cannot_be_opened() public {
        _openRound();
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        bytes32 commitment = _commitment(_update(0));
        vm.chainId(chain);
        vm.prank(_party(0));
        federation.commit(1, commitment);
        _commit(1);
        _endPhase();
        Update memory update = _update(0);
        _expectNothingAccepted(IPlainFederation.CommitmentMismatch.selector);
        _reveal(update);
    }

    function test_an_attestation_of_another_federation_is_refused() public {
        _toAttest(3);
        Result memory result = _result();
        Signature[] memory signatures = _signatures(result, AGGREGATORS);
        IPlainFederation first = federation;
        federation = _deploy(_consortium());
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        // Same round, same updates, same base; the digest is another's, and recovers strangers.
        assertEq(abi.encode(_result()), abi.encode(result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, signatures);
        first.attest(result, signatures);
    }

    function test_an_attestation_of_another_chain_is_refused() public {
        _toAttest(3);
        Result memory result = _result();
        Signature[] memory signatures = _signatures(result, AGGREGATORS);
        vm.chainId(block.chainid + 1);
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, signatures);
    }

    function test_an_attestation_of_another_round_is_refused() public {
        _toAttest(3);
        Result memory old = _result();
        Signature[] memory signatures = _signatures(old, AGGREGATORS);
        _endPhase();
        _toAttest(3);
        vm.expectRevert(abi.encodeWithSelector(IFederation.WrongRound.selector, 2));
        federation.attest(old, signatures);
        // As a result of this round it has another digest.
        Result memory result = _result();
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, signatures);
    }

    /// @dev One account in both roles: what it signs as a party says nothing as an aggregator.
    function test_a_signature_of_another_role_is_refused() public {
        _join(_aggregator(0), Role.Party, STAKE);
        _openRound();
        bytes32 commitment = keccak256("some");
        bytes32 digest = federation.commitDigest(1, _aggregator(0), commitment);
        (bytes32 r, bytes32 vs) = vm.signCompact(_aggregatorKey(0), digest);
        federation.commitFor(_only(SignedCommit(_aggregator(0), commitment, r, vs)));
        _commit(0);
        _commit(1);
        _endPhase();
        _revealFirst(2);
        _endPhase();
        Result memory result = _result();
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, _only(Signature(r, vs)));

        // Nor is a signed result a commit.
        Signature memory attestation = _sign(_aggregatorKey(0), result);
        _endPhase();
        _openRound();
        bytes32 resultDigest = federation.resultDigest(result);
        _expectRefused(SignedCommit(_aggregator(0), resultDigest, attestation.r, attestation.vs));
    }

    function _expectRefused(SignedCommit memory signed) private {
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.commitFor(_only(signed));
    }
}
