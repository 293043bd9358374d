// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, Result} from "../../../contracts/interfaces/IFederation.sol";
import {TypedData} from "../../../contracts/libraries/TypedData.sol";
import {CommitRow, GoldenHashes, ResultRow} from "../support/GoldenHashes.sol";

/// @dev The separator is the one of the contract that runs this.
contract DomainSeparatorCaller {
    function domainSeparator() external view returns (bytes32) {
        return TypedData.domainSeparator();
    }
}

/// @notice See TypedData.tree.
contract TypedDataTest is GoldenHashes {
    function test_DomainSeparator_WhenTheContractsOfTheGoldenResultsCall() public {
        bytes memory code = address(new DomainSeparatorCaller()).code;
        ResultRow[] memory rows = _resultRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            vm.chainId(rows[i].chainId);
            vm.etch(rows[i].federation, code);
            bytes32 separator = DomainSeparatorCaller(rows[i].federation).domainSeparator();
            assertEq(separator, rows[i].domainSeparator);
        }
        assertNotEq(rows.length, 0);
    }

    function test_HashResult_WhenTheGoldenResultsAreGiven() public view {
        ResultRow[] memory rows = _resultRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(this.hashResult(_resultOf(rows[i])), rows[i].structHash);
        }
    }

    function test_HashCommit_WhenTheGoldenCommitsAreGiven() public view {
        CommitRow[] memory rows = _commitRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(
                TypedData.hashCommit(rows[i].round, rows[i].party, rows[i].commitment), rows[i].structHash
            );
        }
    }

    /// @dev Every field is hashed: another value, another hash.
    function testFuzz_EveryFieldCounts(Result memory result, uint8 field, uint8 bit) public view {
        bytes32 before = this.hashResult(result);
        if (field % 7 == 0) result.round ^= uint64(1) << bit % 64;
        if (field % 7 == 1) result.updatesHash ^= bytes32(uint256(1) << bit);
        if (field % 7 == 2) result.baseRoot ^= bytes32(uint256(1) << bit);
        if (field % 7 == 3) result.included ^= uint128(1) << bit % 128;
        if (field % 7 == 4) result.globalRoot ^= bytes32(uint256(1) << bit);
        if (field % 7 == 5) result.globalCid.digest ^= bytes32(uint256(1) << bit);
        if (field % 7 == 6) result.globalCid.codec ^= uint8(1) << bit % 8;
        assertNotEq(this.hashResult(result), before);
    }

    function hashResult(Result calldata result) external pure returns (bytes32) {
        return TypedData.hashResult(result);
    }
}
