// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Cid, IFederation, Params} from "./interfaces/IFederation.sol";

uint256 constant BPS = 10_000;

/// @dev The codecs of a CIDv1 that the protocol accepts.
uint8 constant CODEC_RAW = 0x55;
uint8 constant CODEC_DAG_PB = 0x70;

function isValidCid(Cid memory cid) pure returns (bool) {
    return cid.digest != 0 && (cid.codec == CODEC_RAW || cid.codec == CODEC_DAG_PB);
}

/// @dev A contract whose code is the given data. The data must not begin with 0xEF (EIP-3541).
contract Blob {
    constructor(bytes memory data) {
        assembly ("memory-safe") {
            return(add(data, 0x20), mload(data))
        }
    }
}

/// @title The parameters of a federation: validated once, then immutable
abstract contract Parameters is IFederation {
    /// @dev The updates of a round are sorted in memory, and their number is stored in one byte.
    uint256 private constant UPDATES_LIMIT = 100;
    uint256 private constant PERIOD_LIMIT = 2 ** 31;
    uint256 private constant DEPTH_LIMIT = 21;
    uint256 private constant FRACTION_BITS_LIMIT = 24;
    uint256 private constant LEARNING_RATE_LIMIT = 1_000_000;
    /// @dev The norm of 256 times -32,768, the largest that a chunk can have.
    uint256 private constant CHUNK_NORM_LIMIT = 2 ** 19;

    uint256 internal immutable minPartyStake;
    uint256 internal immutable minAggregatorStake;
    uint256 internal immutable maxParties;
    uint256 internal immutable participants;
    uint256 internal immutable minUpdates;
    uint256 internal immutable maxUpdates;
    bool internal immutable openAdmission;
    uint256 internal immutable commitPeriod;
    uint256 internal immutable revealPeriod;
    uint256 internal immutable attestPeriod;
    uint256 internal immutable challengePeriod;
    uint256 internal immutable reward;
    uint256 internal immutable aggregatorShareBps;
    uint256 internal immutable unrevealedSlashBps;

    /// @dev The address of a contract whose code is all parameters, encoded. A view that returns them from
    /// immutables would take 2 KB of code. Parameters that only disputes need are stored only here.
    address internal immutable encodedParams;

    /// @dev True for a consortium: every active party takes part in every round.
    bool internal immutable everybodyDrawn;
    /// @dev The time from a request to unbond to a withdrawal. It is at least `challengePeriod`, during which a
    /// result that was signed earlier may be challenged.
    uint256 internal immutable unbondDelay;

    /// @param encoded The parameters, encoded; a private federation has more, which follow.
    constructor(Params memory p, bytes memory encoded) {
        _validateSizes(p);
        _validatePeriods(p);
        _validateModel(p);

        minPartyStake = p.minPartyStake;
        minAggregatorStake = p.minAggregatorStake;
        maxParties = p.maxParties;
        participants = p.participants;
        minUpdates = p.minUpdates;
        maxUpdates = p.maxUpdates;
        openAdmission = p.openAdmission;
        commitPeriod = p.commitPeriod;
        revealPeriod = p.revealPeriod;
        attestPeriod = p.attestPeriod;
        challengePeriod = p.challengePeriod;
        reward = p.reward;
        aggregatorShareBps = p.aggregatorShareBps;
        unrevealedSlashBps = p.unrevealedSlashBps;
        encodedParams = address(new Blob(encoded));
        everybodyDrawn = p.maxParties <= p.participants;
        unbondDelay = Math.max(p.unbondPeriod, p.challengePeriod);
    }

    /// @inheritdoc IFederation
    function params() external view returns (Params memory) {
        _return(encodedParams.code);
    }

    /// @dev Ends the call with a return value that is encoded already.
    function _return(bytes memory encoded) internal pure {
        assembly ("memory-safe") {
            return(add(encoded, 0x20), mload(encoded))
        }
    }

    /// @dev The numbers of parties. In a crowd (a sampled federation) the number drawn is random: `participants`
    /// plus four standard deviations must fit `maxUpdates`, and half of `participants` must reach `minUpdates`.
    function _validateSizes(Params memory p) private pure {
        _require(p.minPartyStake > 0, "minPartyStake");
        _require(p.minAggregatorStake > 0, "minAggregatorStake");
        _require(p.maxUpdates <= UPDATES_LIMIT, "maxUpdates");
        _require(0 < p.minUpdates && p.minUpdates <= p.maxUpdates, "minUpdates");
        _require(p.minUpdates <= p.maxParties, "maxParties");
        _require(p.participants <= p.maxUpdates, "participants");
        if (p.maxParties <= p.participants) {
            _require(!p.openAdmission, "openAdmission");
        } else {
            uint256 margin = p.maxUpdates - p.participants;
            _require(16 * uint256(p.participants) <= margin * margin, "participants");
            _require(2 * uint256(p.minUpdates) <= p.participants, "minUpdates");
        }
    }

    function _validatePeriods(Params memory p) private pure {
        _requirePeriod(p.commitPeriod, "commitPeriod");
        _requirePeriod(p.revealPeriod, "revealPeriod");
        _requirePeriod(p.attestPeriod, "attestPeriod");
        _requirePeriod(p.challengePeriod, "challengePeriod");
        _requirePeriod(p.unbondPeriod, "unbondPeriod");
        _requirePeriod(p.answerPeriod, "answerPeriod");
        _require(p.challengePeriod >= 2 * uint256(p.answerPeriod), "challengePeriod");
    }

    function _validateModel(Params memory p) private pure {
        _require(p.trimBps < BPS / 2, "trimBps");
        _require(
            0 < p.serverLearningRateBps && p.serverLearningRateBps <= LEARNING_RATE_LIMIT,
            "serverLearningRateBps"
        );
        _require(p.serverMomentumBps < BPS, "serverMomentumBps");
        _require(p.chunkNormLimit < CHUNK_NORM_LIMIT, "chunkNormLimit");
        _require(p.updateFractionBits <= FRACTION_BITS_LIMIT, "updateFractionBits");
        _require(p.depth <= DEPTH_LIMIT, "depth");
        _require(p.aggregatorShareBps <= BPS, "aggregatorShareBps");
        _require(p.unrevealedSlashBps <= BPS, "unrevealedSlashBps");
        // Both must cost something, or they could be repeated without limit.
        _require(0 < p.fraudSlashBps && p.fraudSlashBps <= BPS, "fraudSlashBps");
        _require(p.demandBond > 0, "demandBond");
        _require(p.genesisRoot != 0, "genesisRoot");
        _require(isValidCid(p.genesisCid), "genesisCid");
        _require(p.manifestDigest != 0, "manifestDigest");
    }

    function _requirePeriod(uint256 period, string memory what) internal pure {
        _require(0 < period && period <= PERIOD_LIMIT, what);
    }

    function _require(bool condition, string memory what) internal pure {
        if (!condition) revert InvalidParams(what);
    }
}
