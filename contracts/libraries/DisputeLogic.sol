// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Demand, Fraud, IDisputes} from "../interfaces/IDisputes.sol";
import {CountedUpdate, IFederation, Params, Role} from "../interfaces/IFederation.sol";
import {BPS} from "../Parameters.sol";
import {Aggregator, Round, Tally, Totals} from "../State.sol";
import {Bitmap} from "./Bitmap.sol";
import {ChunkTree} from "./ChunkTree.sol";
import {ModelRule} from "./ModelRule.sol";

/// @dev The fields of a {Result} that a recomputation needs: the base and the included updates, which determine
/// the expected value, and the root of the model that was signed.
struct Claim {
    bytes32 baseRoot;
    uint256 included;
    bytes32 globalRoot;
}

/// @dev All demands of a federation. Ids start at 1.
struct Descents {
    uint256 count;
    mapping(uint256 id => Demand) demands;
}

/// @title The work of a dispute: recomputation of one coordinate, descents into a withheld model, slashing
/// @notice Read {Disputes} first: it describes the game. This part is a linked library, because the code size of
/// one contract is limited (EIP-170). It is called with `delegatecall`, so it works on the storage of the
/// federation. See docs/protocol.md, section 6.
library DisputeLogic {
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
        _requireProofsLength(p.depth, claim.included, proofs.length);
        int256[] memory values = _values(p.depth, claim.included, updates, coordinate, proofs);
        uint256[] memory weights = _weights(claim.included, updates);
        int256 step = ModelRule.aggregate(p.rule, p.trimBps, values, weights);

        proofs = proofs[values.length * ChunkTree.proofLength(2, p.depth):];
        bytes32 root;
        (root, expected) = ChunkTree.openInt32(proofs, coordinate, p.depth);
        if (root != claim.baseRoot) revert IDisputes.InvalidBaseProof();
        expected = ModelRule.nextState(expected, step, p.updateFractionBits);
        (root, claimed) = ChunkTree.openInt32(proofs[proofs.length / 2:], coordinate, p.depth);
        if (root != claim.globalRoot) revert IDisputes.InvalidModelProof();
    }

    /// @dev One proof for each included update, and one for each of the two models.
    function _requireProofsLength(uint256 depth, uint256 included, uint256 given) private pure {
        uint256 length =
            Bitmap.count(included) * ChunkTree.proofLength(2, depth) + 2 * ChunkTree.proofLength(4, depth);
        if (given != length) revert IDisputes.WrongProofsLength(given, length);
    }

    /// @dev The value of every included update at the coordinate, each checked against the update's root.
    function _values(
        uint256 depth,
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
                (root, values[k]) = ChunkTree.openInt16(proofs, coordinate, depth);
                if (root != updates[i].root) revert IDisputes.InvalidUpdateProof(i);
                proofs = proofs[ChunkTree.proofLength(2, depth):];
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
    /// @param record The record of the round. The caller has checked that the round is canonical.
    /// @param paid What the sender paid, in wei. It must cover the bond.
    /// @return id The id of the new demand.
    /// @return bond The price of the demand, in wei. The caller credits the rest of `paid`.
    function begin(
        Descents storage descents,
        Round storage record,
        address encodedParams,
        uint32 round,
        uint8 level,
        uint256 index,
        uint256 paid
    ) external returns (uint256 id, uint256 bond) {
        Params memory p = _paramsOf(encodedParams);
        uint256 end = uint256(record.attestEnd) + p.challengePeriod;
        if (block.timestamp >= end) revert IDisputes.DisputeWindowClosed(end);
        if (level > p.depth || index >> (p.depth - level) != 0) {
            revert IDisputes.NoSuchNode(level, index);
        }
        if (record.extendedTo == 0) {
            // One step is an answer and the next demand, an answer period each. This is enough for every step down
            // to a chunk, and for the challenge at the end.
            uint256 steps = Math.ceilDiv(p.depth, LEVELS_PER_ANSWER) + 2;
            record.extendedTo = uint40(end + 2 * uint256(p.answerPeriod) * steps);
            emit IDisputes.FinalityExtended(round, record.extendedTo);
        }
        bond = uint256(p.demandBond) * (1 + uint256(record.openDescents));
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
        id = _demand(descents, p.answerPeriod, asked, 0, paid);
    }

    /// @notice Continues a descent at one of the nodes that the answer to the previous demand shows.
    function descend(
        Descents storage descents,
        address encodedParams,
        uint256 previous,
        uint256 index,
        uint256 paid
    ) external returns (uint256 id, uint256 bond) {
        Demand memory asked = descents.demands[previous];
        if (asked.demander != msg.sender) revert IDisputes.NotDemander();
        if (asked.answerer == address(0)) revert IDisputes.NotAnswered();
        if (asked.ended || block.timestamp >= asked.until) revert IDisputes.DescentEnded();
        uint256 levels = _levelsShown(asked.level);
        if (index >> levels != asked.index) revert IDisputes.NotBelow(index);

        descents.demands[previous].ended = true;
        asked.answerer = address(0);
        asked.level -= uint8(levels);
        asked.index = index;
        return (_demand(descents, _paramsOf(encodedParams).answerPeriod, asked, previous, paid), asked.bond);
    }

    /// @notice Checks an answer against the root of the signed model, and stores that the demand is answered.
    /// @param record The record of the demand's round. The caller has checked that the round is canonical.
    /// @param root The root of the model that was accepted in this round.
    function answer(
        Descents storage descents,
        Round storage record,
        address encodedParams,
        uint256 id,
        bytes32 root,
        bytes calldata content,
        bytes calldata path
    ) external {
        Params memory p = _paramsOf(encodedParams);
        Demand storage asked = descents.demands[id];
        if (asked.answerer != address(0)) revert IDisputes.AlreadyAnswered();
        if (block.timestamp >= asked.until) revert IDisputes.AnswerOverdue(asked.until);
        uint256 level = asked.level;
        bytes32 node =
            level == 0 ? ChunkTree.leafOf(content, 4) : ChunkTree.subtreeRoot(content, _levelsShown(level));
        if (ChunkTree.rootOf(node, asked.index, p.depth - level, path) != root) {
            revert IDisputes.WrongAnswer();
        }
        asked.answerer = msg.sender;
        asked.until = uint40(block.timestamp + p.answerPeriod);
        if (level == 0) _end(asked, record);
        emit IDisputes.Answered(asked.round, id, msg.sender, content);
    }

    /// @notice Ends a descent that its demander did not continue in time.
    /// @param record The record of the demand's round.
    function close(Descents storage descents, Round storage record, uint256 id) external {
        Demand storage asked = descents.demands[id];
        if (asked.answerer == address(0)) revert IDisputes.NotAnswered();
        if (asked.ended) revert IDisputes.DescentEnded();
        if (block.timestamp < asked.until) revert IDisputes.NotOverdue(asked.until);
        _end(asked, record);
        emit IDisputes.DescentClosed(asked.round, id);
    }

    /// @notice Deletes a demand and returns who gets how much of its bond, in wei. The rest is burnt.
    /// @param canonical Whether the demand's round is canonical.
    function settle(Descents storage descents, uint256 id, bool canonical)
        external
        returns (address to, uint256 amount)
    {
        Demand memory asked = descents.demands[id];
        (to, amount) = (asked.demander, asked.bond);
        // Half is burnt. Otherwise an account that answers its own demands would delay finality at no cost.
        if (canonical && asked.answerer != address(0)) (to, amount) = (asked.answerer, amount / 2);
        delete descents.demands[id];
        emit IDisputes.BondSettled(asked.round, id, to, amount);
    }

    // ------------------------------------------------------------------ slashing

    /// @notice Slashes one signer of a fraudulent result. A slash never exceeds the present stake.
    /// @param account The present holder of the seat.
    /// @return round The round of the fraudulent result.
    /// @return challenger The account that proved the fraud.
    /// @return paid The challenger's part, in wei. The rest of the slash is burnt: otherwise an aggregator could
    /// slash itself at no cost.
    function slash(
        Fraud storage proven,
        Tally storage tally,
        address account,
        uint8 seat,
        Aggregator storage aggregator,
        Totals storage live,
        address encodedParams
    ) external returns (uint32 round, address challenger, uint256 paid) {
        (round, challenger) = (proven.round, proven.challenger);
        // An account that took the seat after this round did not sign.
        bool signed =
            Bitmap.has(tally.signers, seat) && account != address(0) && aggregator.activeFrom <= round;
        if (challenger == address(0) || !signed || Bitmap.has(proven.slashed, seat)) {
            revert IFederation.NotSlashable();
        }
        proven.slashed |= uint64(1) << seat;

        Params memory p = _paramsOf(encodedParams);
        uint96 stake = aggregator.stake;
        // Rounded up, it still does not exceed the stake.
        uint96 amount = uint96(Math.ceilDiv(uint256(stake) * p.fraudSlashBps, BPS));
        uint96 left = stake - amount;
        if (aggregator.unbondAt == 0 && stake >= p.minAggregatorStake) {
            // A stake below the minimum has no vote: then all of it leaves the total.
            live.aggregatorStake -= left < p.minAggregatorStake ? stake : amount;
        }
        aggregator.stake = left;
        paid = amount / 2;
        emit IFederation.Slashed(account, Role.Aggregator, round, amount, amount - paid);
    }

    // ------------------------------------------------------------------ helpers

    /// @dev Checks the payment, stores the demand and starts its answer period.
    function _demand(
        Descents storage descents,
        uint256 answerPeriod,
        Demand memory asked,
        uint256 previous,
        uint256 paid
    ) private returns (uint256 id) {
        if (paid < asked.bond) revert IDisputes.BondTooLow(paid, asked.bond);
        asked.until = uint40(block.timestamp + answerPeriod);
        id = ++descents.count;
        descents.demands[id] = asked;
        emit IDisputes.Demanded(
            asked.round, id, msg.sender, asked.level, asked.index, previous, asked.bond, asked.until
        );
    }

    function _end(Demand storage asked, Round storage record) private {
        asked.ended = true;
        --record.openDescents;
    }

    /// @dev Reads the parameters from the contract that holds them as its code.
    function _paramsOf(address encodedParams) private view returns (Params memory) {
        return abi.decode(encodedParams.code, (Params));
    }

    function _levelsShown(uint256 level) private pure returns (uint256) {
        return Math.min(LEVELS_PER_ANSWER, level);
    }
}
