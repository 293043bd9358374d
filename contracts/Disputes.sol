// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Attestation} from "./Attestation.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {DisputeLogic} from "./libraries/DisputeLogic.sol";

/// @title Disputes: anybody can prove that a signed result is wrong; it is revoked, and its signers are slashed
/// @notice The whole dispute game. Aggregators sign a result: "this model is the federation's rule, applied to
/// these updates to this base model". The rule is deterministic, so whoever has the updates (a watcher) can
/// compute the expected model and compare it with the signed one. If the two differ, the watcher proves it in
/// one of two ways. First, where the signed model is published: it finds a coordinate that is wrong, registers
/// the challenge (`registerChallenge`), and at least one block later calls `challenge` with Merkle proofs of
/// this coordinate in every included update, in the base model and in the signed model. The contract computes
/// this one coordinate and compares. Second, where the signers withhold the model: the watcher pays a bond and
/// calls `demand` for a node of the signed model's tree. Anybody who has the model can `answer` with the nodes
/// up to six levels below. The watcher compares them with its own tree, calls `descend` for the first node that
/// differs, and repeats this until an answer shows a chunk with a wrong coordinate, which it challenges. If
/// nobody answers within the answer period, anybody can `expire` the demand, and that alone convicts the
/// result. A convicted result is fraudulent for ever. If it was accepted, its round and all later rounds are
/// revoked, and the head is the model before it. `slashSigner` slashes one signer at a time: half of the slash
/// goes to the challenger, half is burnt. A challenge of a right coordinate reverts (`NotFraud`), so an honest
/// signer who answers its demands loses nothing. `closeDescent` ends a descent that was not continued.
/// `settleBond` pays the bond back, unless the demand was answered and the round stands: then half goes to the
/// account that answered, and half is burnt.
abstract contract Disputes is Attestation, IDisputes {
    // ------------------------------------------------------------------ a wrong coordinate

    /// @inheritdoc IDisputes
    function registerChallenge(bytes32 hash) external {
        // The first registration stands: nobody can make a challenge look younger than it is.
        if (state.registeredAt[hash] != 0) return;
        state.registeredAt[hash] = block.number;
        emit ChallengeRegistered(hash, msg.sender);
    }

    /// @dev Convicts a result that is proven wrong. The sender is the challenger.
    function _convict(uint64 round, bytes32 digest) internal {
        DisputeLogic.convict(state, encodedParams, uint32(round), digest, msg.sender);
    }

    // ------------------------------------------------------------------ a withheld model

    /// @inheritdoc IDisputes
    function demand(uint32 round, uint8 level, uint256 index) external payable returns (uint256 id) {
        return DisputeLogic.begin(state, encodedParams, round, level, index, msg.value);
    }

    /// @inheritdoc IDisputes
    function descend(uint256 previous, uint256 index) external payable returns (uint256 id) {
        return DisputeLogic.descend(state, encodedParams, previous, index, msg.value);
    }

    /// @inheritdoc IDisputes
    function answer(uint256 id, bytes calldata content, bytes calldata path) external {
        DisputeLogic.answer(state, encodedParams, id, content, path);
    }

    /// @dev Convicts the result with this digest, accepted in this round, if the demand was not answered in time.
    function _expire(uint256 id, bytes32 digest, uint64 round) internal {
        DisputeLogic.expire(state, encodedParams, id, digest, round);
    }

    /// @inheritdoc IDisputes
    function closeDescent(uint256 id) external {
        DisputeLogic.close(state, id);
    }

    /// @inheritdoc IDisputes
    function settleBond(uint256 id) external {
        DisputeLogic.settle(state, id);
    }

    // ------------------------------------------------------------------ a fraudulent result

    /// @inheritdoc IDisputes
    function slashSigner(bytes32 digest, uint8 seat) external {
        DisputeLogic.slash(state, encodedParams, digest, seat);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IDisputes
    function registeredAt(bytes32 hash) external view returns (uint256) {
        return state.registeredAt[hash];
    }

    /// @inheritdoc IDisputes
    function heldUntil() external view returns (uint256) {
        return state.heldUntil;
    }
}
