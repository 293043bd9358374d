// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Observation, Params, Phase, Role, Rule, Signature} from "./interfaces/IFederation.sol";
import {
    IPrivateFederation,
    PrivateObservation,
    PrivateParams,
    PrivateResult
} from "./interfaces/IPrivateFederation.sol";
import {Claims, PRIVATE_SEATS} from "./libraries/Claims.sol";
import {MaskedDisputes} from "./libraries/MaskedDisputes.sol";
import {Secp256k1} from "./libraries/Secp256k1.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {LinkedViews} from "./LinkedViews.sol";
import {PrivateRounds} from "./PrivateRounds.sol";
import {State} from "./State.sol";
import {Current, Tally} from "./Stored.sol";

/// @title A private federation
/// @notice A {Federation} whose updates are masked: nobody learns more of a round than a sum over the locked updates,
/// and anybody can still recompute every model. All that does not concern the form of updates and results is the same
/// code. In addition, read:
/// - {PrivateRounds}: commits that show the keys of masks, reveals of masked updates, and claims.
/// - {Claims}: which updates are locked.
/// - {Masked}: disputes about masked updates and opened seeds.
/// See docs/protocol.md, section 12.
contract PrivateFederation is LinkedViews, PrivateRounds {
    /// @dev A challenge of more updates would not fit a transaction of 128 KiB, at the largest depth.
    uint256 private constant PRIVATE_UPDATES_LIMIT = 88;
    /// @dev A sum of fewer updates tells a party that is in it what another has sent.
    uint256 private constant PRIVATE_UPDATES_MINIMUM = 3;
    uint256 private constant STEP_LIMIT = 32_767;
    uint256 private constant CHUNK_VALUES = 256;
    uint256 private constant ANNOUNCEMENT_BYTES = 1024;

    constructor(Params memory p, PrivateParams memory q) State(p, abi.encode(p, q)) PrivateRounds(q) {
        _require(p.rule == Rule.WeightedMean, "rule");
        _require(!p.openAdmission, "openAdmission");
        // Nobody sees an update whose norm could be computed. Parties clip there.
        _require(p.chunkNormLimit == 0, "chunkNormLimit");
        _require(p.minUpdates >= PRIVATE_UPDATES_MINIMUM, "minUpdates");
        _require(p.maxUpdates <= PRIVATE_UPDATES_LIMIT, "maxUpdates");
        _require(0 < q.parameters && q.parameters <= CHUNK_VALUES << p.depth, "parameters");
        _require(0 < q.stepLimit && q.stepLimit <= STEP_LIMIT, "stepLimit");
        _requirePeriod(q.claimPeriod, "claimPeriod");
        _require(q.secrecy == 1 || q.secrecy == 2, "secrecy");
        // One list for each base needs rounds that draw everybody.
        _require(q.relock || everybodyDrawn, "relock");
    }

    // ------------------------------------------------------------------ in another way than in a plain round

    function _phase(Current memory round) internal view override returns (Phase) {
        return Claims.phase(round, own.claiming, minUpdates, claimPeriod, attestPeriod);
    }

    function _attestEnd(Current memory round) internal view override returns (uint256) {
        return round.revealEnd + claimPeriod + attestPeriod;
    }

    function _seatCount() internal pure override returns (uint256) {
        return PRIVATE_SEATS;
    }

    // ------------------------------------------------------------------ accounts

    /// @inheritdoc IPrivateFederation
    function register(Role role, address beneficiary, bytes32 key) external payable {
        if (role == Role.Party && key != 0) revert InvalidKey();
        _register(role, beneficiary);
        if (role == Role.Aggregator) _setKey(key);
    }

    /// @inheritdoc IPrivateFederation
    function setKey(bytes32 key) external {
        if (state.aggregators[msg.sender].activeFrom == 0) revert NotRegistered();
        _setKey(key);
    }

    function _setKey(bytes32 key) private {
        if (!Secp256k1.hasPoint(uint256(key))) revert InvalidKey();
        emit KeySet(msg.sender, key);
    }

    // ------------------------------------------------------------------ results

    /// @inheritdoc IPrivateFederation
    function attest(PrivateResult calldata signed, bytes calldata, Signature[] calldata signatures) external {
        if (signatures.length == 0) revert EmptyBatch();
        bytes32 digest = _resultDigest(signed);
        (Tally memory tally, Current memory present) = _requireAttestable(signed.result, digest);
        if (tally.signers == 0) Claims.propose(state, own, digest, msg.data);
        _attest(signed.result, digest, tally, present, signatures);
    }

    /// @inheritdoc IPrivateFederation
    function announce(bytes calldata message) external {
        if (message.length > ANNOUNCEMENT_BYTES) revert AnnouncementTooLong(message.length);
        emit Announced(msg.sender, message);
    }

    /// @inheritdoc IPrivateFederation
    function distribute(PrivateResult calldata signed, CountedUpdate[] calldata updates) external {
        _distribute(signed.result, _resultDigest(signed), updates);
    }

    /// @inheritdoc IPrivateFederation
    function challenge(
        PrivateResult calldata,
        CountedUpdate[] calldata,
        uint256,
        bytes calldata,
        bytes calldata,
        bytes32
    ) external {
        _prove();
    }

    /// @inheritdoc IPrivateFederation
    function challengeSeed(
        PrivateResult calldata,
        CountedUpdate[] calldata,
        bytes calldata,
        uint256,
        bytes calldata,
        bytes32,
        bytes32,
        bytes32
    ) external {
        _prove();
    }

    /// @dev Convicts the result that {MaskedDisputes} proves wrong.
    function _prove() private {
        (uint64 round, bytes32 digest) = MaskedDisputes.prove(state, encodedParams, msg.data);
        _convict(round, digest);
    }

    /// @inheritdoc IPrivateFederation
    function expire(uint256 id, PrivateResult calldata signed) external {
        _expire(id, _resultDigest(signed), signed.result.round);
    }

    /// @inheritdoc IPrivateFederation
    function resultDigest(PrivateResult calldata signed) external view returns (bytes32) {
        return _resultDigest(signed);
    }

    function _resultDigest(PrivateResult calldata signed) private view returns (bytes32) {
        return _typedDigest(TypedData.hashPrivateResult(signed));
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IPrivateFederation
    function privateParams() external view returns (PrivateParams memory) {
        _privateView();
    }

    /// @inheritdoc IPrivateFederation
    function observe(address) external view returns (Observation memory, PrivateObservation memory) {
        _privateView();
    }

    /// @dev Ends the call with what {Claims} returns for it.
    function _privateView() private view {
        _return(Claims.read(state, own, encodedParams, msg.data));
    }
}
