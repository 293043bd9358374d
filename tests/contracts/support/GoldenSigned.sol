// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GoldenTest} from "./GoldenTest.sol";

struct CommitSignedRow {
    uint256 chainId;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    bytes32 maskKey;
    address party;
    uint64 round;
    bytes32 structHash;
    uint8 weight;
}

struct RevealSignedRow {
    uint256 chainId;
    uint8 cidCodec;
    bytes32 cidDigest;
    bytes32 commitsHash;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    address party;
    bytes32 root;
    uint64 round;
    bytes32 structHash;
}

struct HeldSignedRow {
    uint256 chainId;
    bytes32 commitsHash;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    bytes32 held;
    uint64 round;
    bytes32 structHash;
    bytes32 updatesHash;
}

struct ConfirmedSignedRow {
    uint256 chainId;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    bytes32 lock;
    uint64 round;
    bytes32 structHash;
}

struct ReleaseSignedRow {
    uint256 chainId;
    uint8 cidCodec;
    bytes32 cidDigest;
    bytes32 digest;
    bytes32 domainSeparator;
    address federation;
    bytes32 lock;
    uint64 round;
    bytes32 structHash;
}

struct ResultSignedRow {
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
    bytes32 seedsHash;
    bytes32 structHash;
    bytes32 updatesHash;
}

/// @notice The golden vectors of what is signed in private federations.
abstract contract GoldenSigned is GoldenTest {
    function _commitRows() internal view returns (CommitSignedRow[] memory) {
        string memory row =
            "R(uint256 chainId,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 maskKey,address party,uint64 round,bytes32 structHash,uint8 weight)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateCommits", row), (CommitSignedRow[]));
    }

    function _revealRows() internal view returns (RevealSignedRow[] memory) {
        string memory row =
            "R(uint256 chainId,uint8 cidCodec,bytes32 cidDigest,bytes32 commitsHash,bytes32 digest,bytes32 domainSeparator,address federation,address party,bytes32 root,uint64 round,bytes32 structHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateReveals", row), (RevealSignedRow[]));
    }

    function _heldRows() internal view returns (HeldSignedRow[] memory) {
        string memory row =
            "R(uint256 chainId,bytes32 commitsHash,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 held,uint64 round,bytes32 structHash,bytes32 updatesHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateHeld", row), (HeldSignedRow[]));
    }

    function _confirmedRows() internal view returns (ConfirmedSignedRow[] memory) {
        string memory row =
            "R(uint256 chainId,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 lock,uint64 round,bytes32 structHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateConfirmations", row), (ConfirmedSignedRow[]));
    }

    function _releaseRows() internal view returns (ReleaseSignedRow[] memory) {
        string memory row =
            "R(uint256 chainId,uint8 cidCodec,bytes32 cidDigest,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 lock,uint64 round,bytes32 structHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateReleases", row), (ReleaseSignedRow[]));
    }

    function _resultRows() internal view returns (ResultSignedRow[] memory) {
        string memory row =
            "R(bytes32 baseRoot,uint256 chainId,uint8 cidCodec,bytes32 cidDigest,bytes32 digest,bytes32 domainSeparator,address federation,bytes32 globalRoot,bytes32 included,uint64 round,bytes32 seedsHash,bytes32 structHash,bytes32 updatesHash)";
        return abi.decode(vm.parseJsonTypeArray(golden, ".privateResults", row), (ResultSignedRow[]));
    }
}
