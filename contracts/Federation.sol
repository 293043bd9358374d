// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Observation, Params, Result, Role, Signature} from "./interfaces/IFederation.sol";
import {IPlainFederation} from "./interfaces/IPlainFederation.sol";
import {Claim, DisputeLogic} from "./libraries/DisputeLogic.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {LinkedViews} from "./LinkedViews.sol";
import {PlainRounds} from "./PlainRounds.sol";
import {State} from "./State.sol";
import {Current, Tally} from "./Stored.sol";

/// @title A federation
/// @notice One model, its parties and its aggregators. The code is in abstract contracts, one concern each. Read
/// them in this order:
/// - {Parameters}: the immutable parameters.
/// - {State}: the storage ({Stored}), and the values derived from it ({Shared}).
/// - {StakeAccounts}: joining, leaving, and the slash for a missing reveal.
/// - {Rounds}: opening, the draw, and absence; {PlainRounds}: commits and reveals.
/// - {Rewards}: the pot and its distribution.
/// - {Attestation}: from signed results to the history of accepted models.
/// - {Disputes}: how a wrong model is revoked, and its signers are slashed.
/// - {LinkedViews}: the views.
/// All but {PlainRounds} is shared with {PrivateFederation}. This contract adds what depends on the form of results.
contract Federation is LinkedViews, PlainRounds {
    constructor(Params memory p) State(p, abi.encode(p)) PlainRounds(p) {}

    // ------------------------------------------------------------------ accounts

    /// @inheritdoc IPlainFederation
    function register(Role role, address beneficiary) external payable {
        _register(role, beneficiary);
    }

    // ------------------------------------------------------------------ results

    /// @inheritdoc IPlainFederation
    function attest(Result calldata result, Signature[] calldata signatures) external {
        if (signatures.length == 0) revert EmptyBatch();
        bytes32 digest = _resultDigest(result);
        (Tally memory tally, Current memory present) = _requireAttestable(result, digest);
        if (tally.signers == 0) emit ResultProposed(uint32(result.round), digest, result);
        _attest(result, digest, tally, present, signatures);
    }

    /// @inheritdoc IPlainFederation
    function distribute(Result calldata result, CountedUpdate[] calldata updates) external {
        _distribute(result, _resultDigest(result), updates);
    }

    /// @inheritdoc IPlainFederation
    function challenge(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs,
        bytes32 salt
    ) external {
        bytes32 digest = _resultDigest(result);
        Shared.requireChallengeable(state, result.round, digest, coordinate, salt);
        Shared.requireUpdates(updates, result.updatesHash);
        (int256 expected, int256 claimed) = DisputeLogic.recompute(
            encodedParams,
            Claim(result.baseRoot, result.included, result.globalRoot),
            updates,
            coordinate,
            proofs
        );
        if (expected == claimed) revert NotFraud();
        emit ChallengeProven(digest, coordinate, expected, claimed);
        _convict(result.round, digest);
    }

    /// @inheritdoc IPlainFederation
    function expire(uint256 id, Result calldata result) external {
        _expire(id, _resultDigest(result), result.round);
    }

    /// @inheritdoc IPlainFederation
    function resultDigest(Result calldata result) external view returns (bytes32) {
        return _resultDigest(result);
    }

    function _resultDigest(Result calldata result) private view returns (bytes32) {
        return _typedDigest(TypedData.hashResult(result));
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IPlainFederation
    function observe(address) external view returns (Observation memory) {
        _view();
    }
}
