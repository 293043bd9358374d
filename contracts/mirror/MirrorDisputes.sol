// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Demand, Fraud, IDisputes, Window} from "../interfaces/IDisputes.sol";
import {Cid, CountedUpdate, Params, Result, VERSION} from "../interfaces/IFederation.sol";
import {Epoch, IModelMirror, Mirrored, MirroredModel, MirrorParams} from "../interfaces/IModelMirror.sol";
import {Claim, DisputeLogic} from "../libraries/DisputeLogic.sol";
import {Seats} from "../libraries/Seats.sol";
import {Shared} from "../libraries/Shared.sol";
import {TypedData} from "../libraries/TypedData.sol";
import {Blob, isValidCid} from "../Parameters.sol";
import {Accepted, Current, Stored} from "../Stored.sol";

/// @title What a mirror keeps, and its disputes
/// @notice The storage is that of a federation ({Stored}), so that {DisputeLogic} works on it as it is.
abstract contract MirrorDisputes is IModelMirror {
    /// @dev A submission's number has 32 bits, of which its attempt has 8.
    uint256 internal constant ATTEMPT_BITS = 8;
    uint256 internal constant MAX_ROUND = type(uint24).max;
    uint256 private constant PERIOD_LIMIT = 2 ** 31;

    bytes32 private immutable homeDomain;
    uint256 internal immutable minUpdates;
    uint256 private immutable challengePeriod;
    /// @dev As in {Parameters}: contracts with {Params} and {MirrorParams} as their code.
    address private immutable encodedParams;
    address private immutable encodedMirrorParams;

    Stored internal state;
    mapping(uint256 round => Mirrored) internal mirrored;
    Epoch[] internal epochs;

    constructor(MirrorParams memory m, Params memory p, bytes32[] memory seats) {
        _require(m.home != address(0), "home");
        _require(0 < m.answerPeriod && m.answerPeriod <= PERIOD_LIMIT, "answerPeriod");
        bool answerable = m.challengePeriod >= 2 * uint256(m.answerPeriod);
        _require(answerable && m.challengePeriod <= PERIOD_LIMIT, "challengePeriod");
        _require(m.demandBond > 0, "demandBond");
        _require(m.startRound < MAX_ROUND, "startRound");
        _require(m.startRoot != 0 && (m.startRound != 0 || m.startRoot == p.genesisRoot), "startRoot");
        _require(isValidCid(m.startCid), "startCid");
        Seats.requireValid(seats);

        (p.challengePeriod, p.answerPeriod, p.demandBond) = (m.challengePeriod, m.answerPeriod, m.demandBond);
        homeDomain = Seats.domain("Federation", m.homeChainId, m.home);
        minUpdates = p.minUpdates;
        challengePeriod = m.challengePeriod;
        encodedParams = address(new Blob(abi.encode(p)));
        encodedMirrorParams = address(new Blob(abi.encode(m)));

        uint32 start = _submission(m.startRound, 0);
        state.history[0] = Accepted(start, 0, false);
        state.modelRoots[start] = m.startRoot;
        state.modelCidDigests[start] = m.startCid.digest;
        state.rounds[start].cidCodec = m.startCid.codec;
        epochs.push(Epoch(Seats.listHash(seats), 0));
        emit SeatsChanged(0, 0, seats);
    }

    // ------------------------------------------------------------------ disputes

    /// @inheritdoc IDisputes
    function registerChallenge(bytes32 hash) external {
        // The first registration stands: nobody can make a challenge look younger than it is.
        if (state.registeredAt[hash] != 0) return;
        state.registeredAt[hash] = block.number;
        emit ChallengeRegistered(hash, msg.sender);
    }

    /// @inheritdoc IModelMirror
    function challenge(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs,
        bytes32 salt
    ) external {
        bytes32 digest = resultDigest(result);
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
        Mirrored storage known = mirrored[result.round];
        if (known.digest == bytes29(digest)) known.convicted = true;
        emit ChallengeProven(digest, coordinate, expected, claimed);
        emit FraudRecorded(uint32(result.round), digest, coordinate, proofs);
        DisputeLogic.convict(state, encodedParams, _submissionOf(result.round, digest), digest, msg.sender);
    }

    /// @inheritdoc IDisputes
    function demand(uint32 submission, uint8 level, uint256 index) external payable returns (uint256 id) {
        return DisputeLogic.begin(state, encodedParams, submission, level, index, msg.value);
    }

    /// @inheritdoc IDisputes
    function descend(uint256 previous, uint256 index) external payable returns (uint256 id) {
        return DisputeLogic.descend(state, encodedParams, previous, index, msg.value);
    }

    /// @inheritdoc IDisputes
    function answer(uint256 id, bytes calldata content, bytes calldata path) external {
        DisputeLogic.answer(state, encodedParams, id, content, path);
    }

    /// @inheritdoc IModelMirror
    function expire(uint256 id, Result calldata result) external {
        bytes32 digest = resultDigest(result);
        uint32 submission = _submissionOf(result.round, digest);
        DisputeLogic.expire(state, encodedParams, id, digest, submission);
        // No answer proves nothing here, because nobody is bound to be present. So it may be submitted again.
        state.tallies[digest].fraudulent = false;
        delete state.frauds[digest];
        emit NotShown(submission, digest);
    }

    /// @inheritdoc IDisputes
    function closeDescent(uint256 id) external {
        DisputeLogic.close(state, id);
    }

    /// @inheritdoc IDisputes
    function settleBond(uint256 id) external {
        DisputeLogic.settle(state, id);
    }

    /// @inheritdoc IDisputes
    /// @dev There is no stake.
    function slashSigner(bytes32, uint8) external pure {
        revert NotSlashable();
    }

    /// @inheritdoc IModelMirror
    function withdrawCredit(address account) external {
        uint256 amount = state.payees[account].credit;
        // A credit is counted, and no balance that anybody can change.
        // slither-disable-next-line incorrect-equality
        if (amount == 0) revert NothingToWithdraw();
        state.payees[account].credit = 0;
        emit CreditWithdrawn(account, amount);
        Address.sendValue(payable(account), amount);
    }

    // ------------------------------------------------------------------ submissions

    function _submission(uint256 round, uint256 attempt) internal pure returns (uint32) {
        return uint32(round << ATTEMPT_BITS | attempt);
    }

    /// @dev Of the result that stands for its round; of any other one, the number of no attempt.
    function _submissionOf(uint64 round, bytes32 digest) internal view returns (uint32) {
        Mirrored memory known = mirrored[round];
        return _submission(round, known.digest == bytes29(digest) ? known.attempts : 0);
    }

    function _isCanonical(uint32 submission) internal view returns (bool) {
        return Shared.isCanonical(state, submission);
    }

    /// @dev Whether nothing can refuse this model any more, if none below it is refused.
    function _isWindowOver(uint32 submission) internal view returns (bool) {
        return block.timestamp >= Shared.windowEnd(state.rounds[submission], challengePeriod);
    }

    function _require(bool condition, string memory what) private pure {
        if (!condition) revert InvalidMirror(what);
    }

    /// @dev Makes the model at this height the head.
    function _cut(uint32 height) internal {
        Current memory present = Shared.loadCurrent(state);
        present.headHeight = height;
        Shared.storeCurrent(state, present);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IModelMirror
    function version() external pure returns (string memory) {
        return VERSION;
    }

    /// @inheritdoc IModelMirror
    function mirrorParams() external view returns (MirrorParams memory) {
        _return(encodedMirrorParams.code);
    }

    /// @inheritdoc IModelMirror
    function params() external view returns (Params memory) {
        _return(encodedParams.code);
    }

    /// @inheritdoc IModelMirror
    function head() external view returns (MirroredModel memory) {
        return model(Shared.headHeight(state));
    }

    /// @inheritdoc IModelMirror
    function model(uint32 height) public view returns (MirroredModel memory seen) {
        uint32 headHeight = Shared.headHeight(state);
        if (height > headHeight) revert BeyondHead(headHeight);
        uint32 submission = state.history[height].round;
        seen.submission = submission;
        seen.round = uint32(submission >> ATTEMPT_BITS);
        seen.height = height;
        seen.isFinal = height <= state.treasury.finalHeight;
        if (height != 0) {
            seen.finalAt = uint40(Shared.windowEnd(state.rounds[submission], challengePeriod));
        }
        seen.root = state.modelRoots[submission];
        seen.cid = Cid(state.modelCidDigests[submission], state.rounds[submission].cidCodec);
    }

    /// @inheritdoc IModelMirror
    function finalHeight() external view returns (uint32) {
        return state.treasury.finalHeight;
    }

    /// @inheritdoc IModelMirror
    function roundOf(uint32 round) external view returns (Mirrored memory) {
        return mirrored[round];
    }

    /// @inheritdoc IModelMirror
    function creditOf(address account) external view returns (uint256) {
        return state.payees[account].credit;
    }

    /// @inheritdoc IModelMirror
    function resultDigest(Result calldata result) public view returns (bytes32) {
        return Seats.typedDigest(homeDomain, TypedData.hashResult(result));
    }

    /// @inheritdoc IDisputes
    function registeredAt(bytes32 hash) external view returns (uint256) {
        return state.registeredAt[hash];
    }

    /// @inheritdoc IDisputes
    function heldUntil() external view returns (uint256) {
        return state.heldUntil;
    }

    /// @inheritdoc IDisputes
    function demandById(uint256) external view returns (Demand memory) {
        _view();
    }

    /// @inheritdoc IDisputes
    function fraud(bytes32) external view returns (Fraud memory) {
        _view();
    }

    /// @inheritdoc IDisputes
    function window(uint32) external view returns (Window memory) {
        _view();
    }

    /// @dev Ends the call with what {Views} returns for it.
    function _view() private view {
        _return(DisputeLogic.read(state, encodedParams, msg.data));
    }

    /// @dev Ends the call with a return value that is encoded already.
    function _return(bytes memory encoded) private pure {
        assembly ("memory-safe") {
            return(add(encoded, 0x20), mload(encoded))
        }
    }
}
