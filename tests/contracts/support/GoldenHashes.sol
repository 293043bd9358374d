// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, Result} from "../../../contracts/interfaces/IFederation.sol";
import {GoldenTest} from "./GoldenTest.sol";

struct ChallengeRow {
    bytes32 challenge;
    address challenger;
    bytes32 coordinate;
    bytes32 digest;
    uint256 result;
    uint64 round;
    bytes32 salt;
}

struct CommitmentRow {
    uint256 chainId;
    uint8 cidCodec;
    bytes32 cidDigest;
    bytes32 commitment;
    address federation;
    address party;
    bytes32 root;
    uint32 round;
    bytes32 salt;
    bytes slot;
    uint16 weight;
}

struct CommitRow {
    uint256 chainId;
    bytes32 commitment;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    address party;
    uint32 round;
    bytes32 structHash;
}

struct ResultRow {
    bytes32 baseRoot;
    uint256 chainId;
    uint8 cidCodec;
    bytes32 cidDigest;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    bytes32 globalRoot;
    bytes32 included;
    uint64 round;
    bytes32 structHash;
    bytes32 updatesHash;
}

struct RollingHashRow {
    address party;
    bytes32 previous;
    bytes32 root;
    bytes32 updatesHash;
    uint16 weight;
}

struct SeedRow {
    bytes32 blockHash;
    bytes32 previous;
    uint32 round;
    bytes32 seed;
}

/// @notice The golden vectors of hashes.
abstract contract GoldenHashes is GoldenTest {
    function _challengeRows() internal view returns (ChallengeRow[] memory) {
        string memory row =
            "C(bytes32 challenge,address challenger,bytes32 coordinate,bytes32 digest,uint256 result,uint64 round,bytes32 salt)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".challenges", row), (ChallengeRow[]));
    }

    function _commitmentRows() internal view returns (CommitmentRow[] memory) {
        string memory row =
            "C(uint256 chainId,uint8 cidCodec,bytes32 cidDigest,bytes32 commitment,address federation,address party,bytes32 root,uint32 round,bytes32 salt,bytes slot,uint16 weight)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".commitments", row), (CommitmentRow[]));
    }

    function _commitRows() internal view returns (CommitRow[] memory) {
        string memory row =
            "C(uint256 chainId,bytes32 commitment,bytes32 digest,bytes32 domainSeparator,address federation,address party,uint32 round,bytes32 structHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".commits", row), (CommitRow[]));
    }

    function _resultRows() internal view returns (ResultRow[] memory) {
        string memory row =
            "R(bytes32 baseRoot,uint256 chainId,uint8 cidCodec,bytes32 cidDigest,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 globalRoot,bytes32 included,uint64 round,bytes32 structHash,bytes32 updatesHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".results", row), (ResultRow[]));
    }

    function _rollingHashRows() internal view returns (RollingHashRow[] memory) {
        string memory row = "R(address party,bytes32 previous,bytes32 root,bytes32 updatesHash,uint16 weight)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".rollingHashes", row), (RollingHashRow[]));
    }

    function _seedRows() internal view returns (SeedRow[] memory) {
        string memory row = "S(bytes32 blockHash,bytes32 previous,uint32 round,bytes32 seed)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".seeds", row), (SeedRow[]));
    }

    function _resultOf(ResultRow memory row) internal pure returns (Result memory) {
        return Result({
            round: row.round,
            updatesHash: row.updatesHash,
            baseRoot: row.baseRoot,
            included: uint128(uint256(row.included)),
            globalRoot: row.globalRoot,
            globalCid: Cid(row.cidDigest, row.cidCodec)
        });
    }
}
