// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, Result} from "../interfaces/IFederation.sol";

/// @title Struct hashes of what is signed (EIP-712)
/// @notice See docs/protocol.md, section 10.
library TypedData {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant CID_TYPEHASH = keccak256("Cid(bytes32 digest,uint8 codec)");
    bytes32 internal constant RESULT_TYPEHASH = keccak256(
        "Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,bytes32 globalRoot,Cid globalCid)"
        "Cid(bytes32 digest,uint8 codec)"
    );
    bytes32 internal constant COMMIT_TYPEHASH =
        keccak256("Commit(uint64 round,address party,bytes32 commitment)");

    /// @notice The domain of the contract that calls this, on this chain.
    function domainSeparator() internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Federation"), keccak256("1"), block.chainid, address(this))
        );
    }

    function hashResult(Result calldata result) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                RESULT_TYPEHASH,
                result.round,
                result.updatesHash,
                result.baseRoot,
                result.included,
                result.globalRoot,
                _hashCid(result.globalCid)
            )
        );
    }

    function hashCommit(uint256 round, address party, bytes32 commitment) internal pure returns (bytes32) {
        return keccak256(abi.encode(COMMIT_TYPEHASH, round, party, commitment));
    }

    function _hashCid(Cid calldata cid) private pure returns (bytes32) {
        return keccak256(abi.encode(CID_TYPEHASH, cid.digest, cid.codec));
    }
}
