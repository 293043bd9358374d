// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Demand, Fraud, IDisputes} from "../interfaces/IDisputes.sol";
import {CountedUpdate, IFederation, Params, Role} from "../interfaces/IFederation.sol";
import {BPS} from "../Parameters.sol";
import {Aggregator, Current, Round, Stored, Tally} from "../Stored.sol";
import {Bitmap} from "./Bitmap.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {ModelRule} from "./ModelRule.sol";
import {Shared} from "./Shared.sol";
import {StateProofs} from "./StateProofs.sol";
import {Views} from "./Views.sol";

/// @dev The fields of a {Result} that a recomputation needs: the base and the included updates, which determine
/// the expected value, and the root of the model that was signed.
struct Claim {
    bytes32 baseRoot;
    uint256 included;
    bytes32 globalRoot;
}

/// @title The work of a dispute: recomputation of a coordinate, descents into a withheld model, slashing; views
/// @notice Read {Disputes} first: it describes the game. This part is a linked library, because the code size of
/// one contract is limited (EIP-170). It is called with `delegatecall`, so it works on the storage of the
/// federation. See docs/protocol.md, section 6.
library DisputeLogic {
    using Shared for Stored;

    /// @dev One answer shows the nodes this many levels below the demanded node: at most 2^6 = 64 nodes.
    uint256 private constant LEVELS_PER_ANSWER = 6;

    // ------------------------------------------------------------------ a wrong coordinate

    /// @notice Computes one coordinate of the model by the federation's rule, and reads the value that was signed.
    /// @param encodedParams The contract whose code is the encoded {Params}.
    /// @param proofs See {IDisputes-challenge}.
    /// @return expected The value that the rule gives at the coordinate.
    /// @return claimed The value of the signed model at the coordinate.
    function recompute(
        address encodedParams,
        Claim calldata claim,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs
    ) external view returns (int256 expected, int256 claimed) {
        Params memory p = _paramsOf(encodedParams);
        _requireProofsLength(p, claim.included, coordinate, proofs.length);
        int256[] memory values =
            _values(p, claim.included, updates, StateProofs.stepCoordinate(p, coordinate), proofs);
        int256 step = ModelRule.aggregate(p.rule, p.trimBps, values, _weights(claim.included, updates));
        return StateProofs.compare(p, step, coordinate, claim.baseRoot, claim.globalRoot, proofs);
    }

    /// @dev One proof for each included update, then those of the states.
    function _requireProofsLength(Params memory p, uint256 included, uint256 coordinate, uint256 given)
        private
        pure
    {
        uint256 length = Bitmap.count(included) * ChunkTree.proofLength(2, p.depth)
            + StateProofs.proofsLength(p, coordinate);
        if (given != length) revert IDisputes.WrongProofsLength(given, length);
    }

    /// @dev The value of every included update at the coordinate, each checked against the update's root, and clipped.
    function _values(
        Params memory p,
        uint256 included,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs
    ) private pure returns (int256[] memory values) {
        values = new int256[](Bitmap.count(included));
        uint256 k = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(included, i)) {
                bytes32 root;
                (root, values[k]) = ChunkTree.openInt16(proofs, coordinate, p.depth);
                if (root != updates[i].root) revert IDisputes.InvalidUpdateProof(i);
                if (p.chunkNormLimit != 0) {
                    uint256 squares = ChunkTree.squaresOf(proofs[:ChunkTree.CHUNK_VALUES * 2]);
                    values[k] = ModelRule.clipped(values[k], squares, p.chunkNormLimit);
                }
                proofs = proofs[ChunkTree.proofLength(2, p.depth):];
                ++k;
            }
        }
    }

    function _weights(uint256 included, CountedUpdate[] calldata updates)
        private
        pure
        returns (uint256[] memory weights)
    {
        weights = new uint256[](Bitmap.count(included));
        uint256 k = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(included, i)) weights[k++] = uint96(updates[i].partyAndWeight);
        }
    }

    // ------------------------------------------------------------------ descents

    /// @notice Begins a descent: the first demand for a node of an accepted model's tree.
    /// @param paid What the sender paid, in wei. It must cover the bond; the rest is credited.
    /// @return id The id of the new demand.
    function begin(
        Stored storage state,
        address encodedParams,
        uint32 round,
        uint8 level,
        uint256 index,
        uint256 paid
    ) external returns (uint256 id) {
        _requireAlive(state, round);
        Params memory p = _paramsOf(encodedParams);
        Round storage record = state.rounds[round];
        uint256 end = uint256(record.attestEnd) + p.challengePeriod;
        if (block.timestamp >= end) revert IDisputes.DisputeWindowClosed(end);
        uint256 depth = StateProofs.depthOf(p);
        if (level > depth || index >> (depth - level) != 0) {
            revert IDisputes.NoSuchNode(level, index);
        }
        if (record.extendedTo == 0) {
            // One step is an answer and the next demand, an answer period each. This is enough for every step down
            // to a chunk, and for the challenge at the end.
            uint256 steps = Math.ceilDiv(depth, LEVELS_PER_ANSWER) + 2;
            record.extendedTo = uint40(end + 2 * uint256(p.answerPeriod) * steps);
            emit IDisputes.FinalityExtended(round, record.extendedTo);
        }
        uint256 bond = uint256(p.demandBond) * (1 + uint256(record.openDescents));
        if (bond > type(uint96).max) revert IDisputes.BondTooLow(paid, bond);
        ++record.openDescents;
        Demand memory asked = Demand({
            demander: msg.sender,
            bond: uint96(bond),
            answerer: address(0),
            until: 0,
            round: round,
            level: level,
            ended: false,
            index: index
        });
        return _demand(state, p.answerPeriod, asked, 0, paid);
    }

    /// @notice Continues a descent at one of the nodes that the answer to the previous demand shows.
    function descend(
        Stored storage state,
        address encodedParams,
        uint256 previous,
        uint256 index,
        uint256 paid
    ) external returns (uint256 id) {
        Demand memory asked = _aliveDemand(state, previous);
        if (asked.demander != msg.sender) revert IDisputes.NotDemander();
        if (asked.answerer == address(0)) revert IDisputes.NotAnswered();
        if (asked.ended || block.timestamp >= asked.until) revert IDisputes.DescentEnded();
        uint256 levels = _levelsShown(asked.level);
        if (index >> levels != asked.index) revert IDisputes.NotBelow(index);

        state.descents.demands[previous].ended = true;
        asked.answerer = address(0);
        asked.level -= uint8(levels);
        asked.index = index;
        return _demand(state, _paramsOf(encodedParams).answerPeriod, asked, previous, paid);
    }

    /// @notice Checks an answer against the root of the signed model, and stores that the demand is answered.
    function answer(
        Stored storage state,
        address encodedParams,
        uint256 id,
        bytes calldata content,
        bytes calldata path
    ) external {
        Demand storage asked = _aliveDemand(state, id);
        Params memory p = _paramsOf(encodedParams);
        if (asked.answerer != address(0)) revert IDisputes.AlreadyAnswered();
        if (block.timestamp >= asked.until) revert IDisputes.AnswerOverdue(asked.until);
        uint256 level = asked.level;
        bytes32 node =
            level == 0 ? ChunkTree.leafOf(content, 4) : ChunkTree.subtreeRoot(content, _levelsShown(level));
        uint256 above = StateProofs.depthOf(p) - level;
        if (ChunkTree.rootOf(node, asked.index, above, path) != state.modelRoots[asked.round]) {
            revert IDisputes.WrongAnswer();
        }
        asked.answerer = msg.sender;
        asked.until = uint40(block.timestamp + p.answerPeriod);
        if (level == 0) _end(state, asked);
        emit IDisputes.Answered(asked.round, id, msg.sender, content);
    }

    /// @notice Convicts a result whose signers did not answer a demand in time.
    /// @param digest Of the result that the sender says was accepted, for the round `resultRound`.
    function expire(
        Stored storage state,
        address encodedParams,
        uint256 id,
        bytes32 digest,
        uint256 resultRound
    ) external {
        Demand storage asked = _aliveDemand(state, id);
        if (asked.answerer != address(0)) revert IDisputes.AlreadyAnswered();
        if (block.timestamp < asked.until) revert IDisputes.NotOverdue(asked.until);
        uint32 round = asked.round;
        if (!state.tallies[digest].accepted || resultRound != round) revert IFederation.UnknownResult();
        _convict(state, encodedParams, round, digest, asked.demander);
    }

    /// @notice Ends a descent that its demander did not continue in time.
    function close(Stored storage state, uint256 id) external {
        Demand storage asked = _knownDemand(state, id);
        if (asked.answerer == address(0)) revert IDisputes.NotAnswered();
        if (asked.ended) revert IDisputes.DescentEnded();
        if (block.timestamp < asked.until) revert IDisputes.NotOverdue(asked.until);
        _end(state, asked);
        emit IDisputes.DescentClosed(asked.round, id);
    }

    /// @notice Deletes a demand and credits its bond, or half of it. The rest is burnt.
    function settle(Stored storage state, uint256 id) external {
        Demand memory asked = _knownDemand(state, id);
        bool canonical = state.isCanonical(asked.round);
        if (canonical && state.rounds[asked.round].height > state.treasury.finalHeight) {
            revert IFederation.NotFinal();
        }
        (address to, uint256 amount) = (asked.demander, asked.bond);
        if (canonical) {
            // Half is burnt. Otherwise an account that answers its own demands, or that neither answers nor expires
            // them, would delay finality and raise the bond of other demands at no cost.
            amount /= 2;
            if (asked.answerer != address(0)) to = asked.answerer;
        }
        delete state.descents.demands[id];
        emit IDisputes.BondSettled(asked.round, id, to, amount);
        state.credit(asked.round, to, amount);
    }

    // ------------------------------------------------------------------ conviction: revoke and slash

    /// @notice Convicts a result that is proven wrong.
    /// @param challenger The account that is paid for the slashes.
    function convict(
        Stored storage state,
        address encodedParams,
        uint32 round,
        bytes32 digest,
        address challenger
    ) external {
        _convict(state, encodedParams, round, digest, challenger);
    }

    /// @notice Slashes one signer of a fraudulent result. A slash never exceeds the present stake. Half of it goes to
    /// the challenger. The rest is burnt: otherwise an aggregator could slash itself at no cost.
    function slash(Stored storage state, address encodedParams, bytes32 digest, uint8 seat) external {
        Fraud storage proven = state.frauds[digest];
        (uint32 round, address challenger) = (proven.round, proven.challenger);
        address account = state.seats[seat];
        Aggregator storage aggregator = state.aggregators[account];
        // An account that took the seat after this round did not sign.
        bool signed = Bitmap.has(state.tallies[digest].signers, seat) && account != address(0)
            && aggregator.activeFrom <= round;
        if (challenger == address(0) || !signed || Bitmap.has(proven.slashed, seat)) {
            revert IFederation.NotSlashable();
        }
        proven.slashed |= uint64(1) << seat;
        uint256 amount = _takeStake(state, encodedParams, aggregator);
        emit IFederation.Slashed(account, Role.Aggregator, round, amount, amount - amount / 2);
        state.credit(round, challenger, amount / 2);
    }

    /// @dev Takes the slash for a fraud from a stake, and from the total that the stake is part of.
    function _takeStake(Stored storage state, address encodedParams, Aggregator storage aggregator)
        private
        returns (uint96 amount)
    {
        Params memory p = _paramsOf(encodedParams);
        uint96 stake = aggregator.stake;
        // Rounded up, it still does not exceed the stake.
        amount = uint96(Math.ceilDiv(uint256(stake) * p.fraudSlashBps, BPS));
        uint96 left = stake - amount;
        if (aggregator.unbondAt == 0 && stake >= p.minAggregatorStake) {
            // A stake below the minimum has no vote: then all of it leaves the total.
            state.live.aggregatorStake -= left < p.minAggregatorStake ? stake : amount;
        }
        aggregator.stake = left;
    }

    function _convict(
        Stored storage state,
        address encodedParams,
        uint32 round,
        bytes32 digest,
        address challenger
    ) private {
        Params memory p = _paramsOf(encodedParams);
        Tally storage tally = state.tallies[digest];
        Round storage record = state.rounds[round];
        if (tally.fraudulent) revert IDisputes.AlreadyFraudulent();
        bool revoked = tally.accepted && state.isCanonical(round);
        uint256 end = revoked
            ? Shared.windowEnd(record, p.challengePeriod)
            : uint256(record.attestEnd) + p.challengePeriod;
        if (block.timestamp >= end) revert IDisputes.DisputeWindowClosed(end);

        tally.fraudulent = true;
        state.frauds[digest] = Fraud(challenger, round, 0);
        emit IDisputes.FraudProven(round, digest, challenger);
        Current memory present = state.loadCurrent();
        _holdStakes(state, present, p.challengePeriod);
        if (revoked) _revoke(state, p, round, present);
    }

    /// @dev A revocation orphans later rounds too. Keeps all stakes in the contract until the results of every
    /// such round can no longer be challenged, so that the slashes come before the withdrawals.
    function _holdStakes(Stored storage state, Current memory present, uint256 challengePeriod) private {
        uint256 attestEnd = state.rounds[state.history[present.headHeight].round].attestEnd;
        uint256 last = Math.max(block.timestamp, Math.max(attestEnd, state.rounds[present.round].attestEnd));
        state.heldUntil = Math.max(state.heldUntil, last + challengePeriod);
    }

    /// @dev The dispute window of this round is open, so neither it nor a later round is final.
    function _revoke(Stored storage state, Params memory p, uint32 round, Current memory present) private {
        uint32 height = state.rounds[round].height;
        emit IDisputes.RoundRevoked(round, height);
        // The base of an open round is the head, which is being revoked: the open round is void too.
        if (present.commitEnd != 0 && !present.orphaned) {
            state.settleRound(present, p.minUpdates, p.maxParties <= p.participants);
            if (!present.accepted) emit IFederation.RoundVoided(present.round);
            present.orphaned = true;
        }
        present.headHeight = height - 1;
        state.storeCurrent(present);
    }

    // ------------------------------------------------------------------ views

    /// @notice Answers a call of one of the federation's views. They are here because a federation links only one
    /// library, and as one function because each call of a library takes 150 bytes of code.
    /// @param call The call data of the view.
    /// @return The ABI encoding of what it returns, for the federation to return as it is.
    function read(Stored storage state, address encodedParams, bytes calldata call)
        external
        view
        returns (bytes memory)
    {
        return Views.read(state, encodedParams, call);
    }

    /// @dev Checks the payment, stores the demand and starts its answer period.
    function _demand(
        Stored storage state,
        uint256 answerPeriod,
        Demand memory asked,
        uint256 previous,
        uint256 paid
    ) private returns (uint256 id) {
        if (paid < asked.bond) revert IDisputes.BondTooLow(paid, asked.bond);
        asked.until = uint40(block.timestamp + answerPeriod);
        id = ++state.descents.count;
        state.descents.demands[id] = asked;
        emit IDisputes.Demanded(
            asked.round, id, msg.sender, asked.level, asked.index, previous, asked.bond, asked.until
        );
        state.credit(asked.round, msg.sender, paid - asked.bond);
    }

    function _end(Stored storage state, Demand storage asked) private {
        asked.ended = true;
        --state.rounds[asked.round].openDescents;
    }

    function _knownDemand(Stored storage state, uint256 id) private view returns (Demand storage asked) {
        asked = state.descents.demands[id];
        if (asked.round == 0) revert IDisputes.UnknownDemand();
    }

    function _aliveDemand(Stored storage state, uint256 id) private view returns (Demand storage asked) {
        asked = _knownDemand(state, id);
        _requireAlive(state, asked.round);
    }

    /// @dev This name and the error's, which is part of the ABI, are older than the term canonical.
    function _requireAlive(Stored storage state, uint32 round) private view {
        if (!state.isCanonical(round)) revert IDisputes.RoundNotAlive();
    }

    /// @dev Reads the parameters from the contract that holds them as its code.
    function _paramsOf(address encodedParams) private view returns (Params memory) {
        return abi.decode(encodedParams.code, (Params));
    }

    function _levelsShown(uint256 level) private pure returns (uint256) {
        return Math.min(LEVELS_PER_ANSWER, level);
    }
}
