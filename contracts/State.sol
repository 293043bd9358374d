// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Params, Phase} from "./interfaces/IFederation.sol";
import {Commit} from "./libraries/CommitSlot.sol";
import {Shared} from "./libraries/Shared.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {Parameters} from "./Parameters.sol";
import {Aggregator, Current, Stored} from "./Stored.sol";

/// @title The storage of a federation, and the values that are derived from storage alone
abstract contract State is Parameters {
    // OpenZeppelin's EIP712 is not used: its function that describes the domain takes 1 KB of code.
    uint256 private immutable domainChainId;
    bytes32 private immutable domainSeparator;

    Stored internal state;

    constructor(Params memory p, bytes memory encoded) Parameters(p, encoded) {
        domainChainId = block.chainid;
        domainSeparator = TypedData.domainSeparator();
        // Genesis is the model of round 0, at height 0.
        state.modelRoots[0] = p.genesisRoot;
        state.modelCidDigests[0] = p.genesisCid.digest;
        state.rounds[0].cidCodec = p.genesisCid.codec;
    }

    // ------------------------------------------------------------------ {Shared}, with the parameters

    function _storeCurrent(Current memory round) internal {
        Shared.storeCurrent(state, round);
    }

    function _headHeight() internal view returns (uint32) {
        return Shared.headHeight(state);
    }

    function _currentRound() internal view returns (uint32) {
        return uint32(state.current);
    }

    /// @dev A private round has one phase more.
    function _phase(Current memory round) internal view virtual returns (Phase) {
        return Shared.phase(round, minUpdates, attestPeriod);
    }

    /// @dev Whether the next round may open. An accepted result can still receive attestations.
    function _hasEnded(Phase phase) internal pure returns (bool) {
        return phase == Phase.Idle || phase == Phase.Accepted || phase == Phase.Void;
    }

    function _attestEnd(Current memory round) internal view virtual returns (uint256) {
        return round.revealEnd + attestPeriod;
    }

    function _revealIsMissing(Commit committed) internal view returns (bool) {
        return Shared.revealIsMissing(state, committed, minUpdates);
    }

    function _isCanonical(uint256 round) internal view returns (bool) {
        return Shared.isCanonical(state, round);
    }

    function _voteWeight(Aggregator storage aggregator, uint256 round) internal view returns (uint256) {
        return Shared.voteWeight(aggregator, round, minAggregatorStake);
    }

    function _windowEnd(uint256 round) internal view returns (uint256) {
        return Shared.windowEnd(state.rounds[round], challengePeriod);
    }

    // ------------------------------------------------------------------ hashes and signatures

    function _typedDigest(bytes32 structHash) internal view returns (bytes32) {
        bool forked = block.chainid != domainChainId;
        bytes32 domain = forked ? TypedData.domainSeparator() : domainSeparator;
        return MessageHashUtils.toTypedDataHash(domain, structHash);
    }

    /// @dev The signer of an ERC-2098 compact signature with a low s; zero when it is invalid.
    function _recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address signer) {
        // The reason why a signature is invalid is not used.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(digest, r, vs);
    }
}
