// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, IFederation, Params, Rule} from "./interfaces/IFederation.sol";

uint256 constant BPS = 10_000;

/// @dev The codecs of a CIDv1 that the protocol accepts.
uint8 constant CODEC_RAW = 0x55;
uint8 constant CODEC_DAG_PB = 0x70;

function isValidCid(Cid memory cid) pure returns (bool) {
    return cid.digest != 0 && (cid.codec == CODEC_RAW || cid.codec == CODEC_DAG_PB);
}

/// @title The parameters of a federation: immutables, validated
abstract contract Parameters is IFederation {
    /// @dev A round's updates are sorted in memory, and counted in a byte.
    uint256 private constant UPDATES_LIMIT = 100;
    uint256 private constant PERIOD_LIMIT = 2 ** 31;
    uint256 private constant DEPTH_LIMIT = 21;
    uint256 private constant FRACTION_BITS_LIMIT = 24;

    uint96 internal immutable minPartyStake;
    uint96 internal immutable minAggregatorStake;
    uint32 internal immutable maxParties;
    uint16 internal immutable participants;
    uint8 internal immutable minUpdates;
    uint8 internal immutable maxUpdates;
    bool internal immutable openAdmission;
    uint32 internal immutable commitPeriod;
    uint32 internal immutable revealPeriod;
    uint32 internal immutable attestPeriod;
    uint32 internal immutable challengePeriod;
    uint32 internal immutable unbondPeriod;
    uint32 internal immutable answerPeriod;
    Rule internal immutable rule;
    uint16 internal immutable trimBps;
    uint8 internal immutable updateFractionBits;
    uint8 internal immutable depth;
    uint96 internal immutable reward;
    uint16 internal immutable aggregatorShareBps;
    uint16 internal immutable unrevealedSlashBps;
    uint16 internal immutable fraudSlashBps;
    uint96 internal immutable demandBond;
    bytes32 internal immutable genesisRoot;
    bytes32 internal immutable genesisCidDigest;
    uint8 internal immutable genesisCidCodec;
    bytes32 internal immutable manifestDigest;

    /// @dev A consortium: every active party is drawn.
    bool internal immutable everybodyDrawn;

    constructor(Params memory p) {
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
        unbondPeriod = p.unbondPeriod;
        answerPeriod = p.answerPeriod;
        rule = p.rule;
        trimBps = p.trimBps;
        updateFractionBits = p.updateFractionBits;
        depth = p.depth;
        reward = p.reward;
        aggregatorShareBps = p.aggregatorShareBps;
        unrevealedSlashBps = p.unrevealedSlashBps;
        fraudSlashBps = p.fraudSlashBps;
        demandBond = p.demandBond;
        genesisRoot = p.genesisRoot;
        genesisCidDigest = p.genesisCid.digest;
        genesisCidCodec = p.genesisCid.codec;
        manifestDigest = p.manifestDigest;
        everybodyDrawn = p.maxParties <= p.participants;
    }

    /// @inheritdoc IFederation
    function params() external view returns (Params memory p) {
        p.minPartyStake = minPartyStake;
        p.minAggregatorStake = minAggregatorStake;
        p.maxParties = maxParties;
        p.participants = participants;
        p.minUpdates = minUpdates;
        p.maxUpdates = maxUpdates;
        p.openAdmission = openAdmission;
        p.commitPeriod = commitPeriod;
        p.revealPeriod = revealPeriod;
        p.attestPeriod = attestPeriod;
        p.challengePeriod = challengePeriod;
        p.unbondPeriod = unbondPeriod;
        p.answerPeriod = answerPeriod;
        p.rule = rule;
        p.trimBps = trimBps;
        p.updateFractionBits = updateFractionBits;
        p.depth = depth;
        p.reward = reward;
        p.aggregatorShareBps = aggregatorShareBps;
        p.unrevealedSlashBps = unrevealedSlashBps;
        p.fraudSlashBps = fraudSlashBps;
        p.demandBond = demandBond;
        p.genesisRoot = genesisRoot;
        p.genesisCid = Cid(genesisCidDigest, genesisCidCodec);
        p.manifestDigest = manifestDigest;
    }

    /// @dev How many take part. In a crowd the number drawn is random: four standard deviations above
    /// `participants` must fit `maxUpdates`, and half of them must be enough.
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
        _require(p.updateFractionBits <= FRACTION_BITS_LIMIT, "updateFractionBits");
        _require(p.depth <= DEPTH_LIMIT, "depth");
        _require(p.aggregatorShareBps <= BPS, "aggregatorShareBps");
        _require(p.unrevealedSlashBps <= BPS, "unrevealedSlashBps");
        _require(p.fraudSlashBps <= BPS, "fraudSlashBps");
        _require(p.genesisRoot != 0, "genesisRoot");
        _require(isValidCid(p.genesisCid), "genesisCid");
        _require(p.manifestDigest != 0, "manifestDigest");
    }

    function _requirePeriod(uint256 period, string memory what) private pure {
        _require(0 < period && period <= PERIOD_LIMIT, what);
    }

    function _require(bool condition, string memory what) private pure {
        if (!condition) revert InvalidParams(what);
    }
}
