// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GoldenTest} from "./GoldenTest.sol";

struct CommitListRow {
    bytes32 commitsHash;
    bytes32 maskKey;
    address party;
    bytes32 previous;
    uint8 weight;
}

struct ContextRow {
    bytes32 baseRoot;
    uint256 chainId;
    bytes32 commitsHash;
    bytes32 ctx;
    address federation;
    bytes32 lock;
    bytes32 locked;
    uint64 round;
    bytes32 seatsHash;
}

struct LabelRow {
    bytes32 label;
    string name;
}

struct PieceRow {
    uint256 index;
    bytes32 leaf;
    uint256 party;
    bytes32[] path;
    bytes32 piece;
    bytes32 root;
    uint256 roundRow;
    uint256 set;
}

struct PublicKeyRow {
    bool onCurve;
    bytes32 x;
}

struct SealRow {
    bytes body;
    bytes head;
    uint256 index;
    bytes32 root;
    uint256 roundRow;
    bytes32 sealHash;
    bytes32[] seeds;
    bytes32 valuesRoot;
}

struct SeatRow {
    address account;
    bytes32 key;
    bytes32 previous;
    bytes32 seatsHash;
    bytes32 stake;
}

struct StepRow {
    int256 step;
    int256 stepLimit;
    int256 sum;
    int256 weight;
}

struct StreamRow {
    uint256 n;
    bytes32 seed;
    uint256 value;
}

struct SumRow {
    uint256 commits;
    uint256 coordinate;
    uint256[] included;
    uint256[] masked;
    uint256 roundRow;
    bytes seeds;
    bytes32 seedsHash;
    int256 step;
    int256 stepLimit;
    int256 sum;
    int256 weight;
}

/// @notice The golden vectors of private rounds.
abstract contract GoldenPrivacy is GoldenTest {
    function _commitListRows() internal view returns (CommitListRow[] memory) {
        string memory row =
            "R(bytes32 commitsHash,bytes32 maskKey,address party,bytes32 previous,uint8 weight)";
        return abi.decode(_rows(".privateCommitLists", row), (CommitListRow[]));
    }

    function _contextRows() internal view returns (ContextRow[] memory) {
        string memory row =
            "R(bytes32 baseRoot,uint256 chainId,bytes32 commitsHash,bytes32 ctx,address federation,bytes32 lock,bytes32 locked,uint64 round,bytes32 seatsHash)";
        return abi.decode(_rows(".privateContexts", row), (ContextRow[]));
    }

    function _labelRows() internal view returns (LabelRow[] memory) {
        return abi.decode(_rows(".privateLabels", "R(bytes32 label,string name)"), (LabelRow[]));
    }

    function _pieceRows() internal view returns (PieceRow[] memory) {
        string memory row =
            "R(uint256 index,bytes32 leaf,uint256 party,bytes32[] path,bytes32 piece,bytes32 root,uint256 roundRow,uint256 set)";
        return abi.decode(_rows(".privatePieces", row), (PieceRow[]));
    }

    function _publicKeyRows() internal view returns (PublicKeyRow[] memory) {
        return abi.decode(_rows(".privatePublicKeys", "R(bool onCurve,bytes32 x)"), (PublicKeyRow[]));
    }

    function _sealRows() internal view returns (SealRow[] memory) {
        string memory row =
            "R(bytes body,bytes head,uint256 index,bytes32 root,uint256 roundRow,bytes32 sealHash,bytes32[] seeds,bytes32 valuesRoot)";
        return abi.decode(_rows(".privateSeals", row), (SealRow[]));
    }

    function _seatRows() internal view returns (SeatRow[] memory) {
        string memory row = "R(address account,bytes32 key,bytes32 previous,bytes32 seatsHash,bytes32 stake)";
        return abi.decode(_rows(".privateSeatTables", row), (SeatRow[]));
    }

    function _stepRows() internal view returns (StepRow[] memory) {
        string memory row = "R(int256 step,int256 stepLimit,int256 sum,int256 weight)";
        return abi.decode(_rows(".privateSteps", row), (StepRow[]));
    }

    function _streamRows() internal view returns (StreamRow[] memory) {
        return abi.decode(_rows(".privateStreams", "R(uint256 n,bytes32 seed,uint256 value)"), (StreamRow[]));
    }

    function _sumRows() internal view returns (SumRow[] memory) {
        string memory row =
            "R(uint256 commits,uint256 coordinate,uint256[] included,uint256[] masked,uint256 roundRow,bytes seeds,bytes32 seedsHash,int256 step,int256 stepLimit,int256 sum,int256 weight)";
        return abi.decode(_rows(".privateSums", row), (SumRow[]));
    }

    function _rows(string memory group, string memory row) internal view returns (bytes memory) {
        return vm.parseJsonTypeArray(golden, group, row);
    }
}
