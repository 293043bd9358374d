// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Cid, Result} from "../interfaces/IFederation.sol";
import {PrivateResult} from "../interfaces/IPrivateFederation.sol";

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

    // In private federations.
    bytes32 internal constant PRIVATE_RESULT_TYPEHASH = keccak256(
        "Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,bytes32 seedsHash,bytes32 globalRoot,Cid globalCid)"
        "Cid(bytes32 digest,uint8 codec)"
    );
    bytes32 internal constant MASKED_COMMIT_TYPEHASH =
        keccak256("Commit(uint64 round,address party,uint8 weight,bytes32 maskKey)");
    bytes32 internal constant REVEAL_TYPEHASH = keccak256(
        "Reveal(uint64 round,address party,bytes32 commitsHash,bytes32 root,Cid cid)"
        "Cid(bytes32 digest,uint8 codec)"
    );
    bytes32 internal constant HELD_TYPEHASH =
        keccak256("Held(uint64 round,bytes32 commitsHash,bytes32 updatesHash,uint128 held)");

    /// @notice The domain of the contract that calls this, on this chain.
    function domainSeparator() internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256("Federation"), keccak256("1"), block.chainid, address(this))
        );
    }

    /// @notice What is signed in the contract that calls this. A federation keeps the domain instead.
    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
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

    function hashPrivateResult(PrivateResult calldata signed) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                PRIVATE_RESULT_TYPEHASH,
                signed.result.round,
                signed.result.updatesHash,
                signed.result.baseRoot,
                signed.result.included,
                signed.seedsHash,
                signed.result.globalRoot,
                _hashCid(signed.result.globalCid)
            )
        );
    }

    function hashMaskedCommit(uint256 round, address party, uint8 weight, bytes32 maskKey)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(MASKED_COMMIT_TYPEHASH, round, party, weight, maskKey));
    }

    function hashReveal(uint256 round, address party, bytes32 commitsHash, bytes32 root, Cid calldata cid)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(REVEAL_TYPEHASH, round, party, commitsHash, root, _hashCid(cid)));
    }

    function hashHeld(uint256 round, bytes32 commitsHash, bytes32 updatesHash, uint128 held)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(HELD_TYPEHASH, round, commitsHash, updatesHash, held));
    }

    function _hashCid(Cid calldata cid) private pure returns (bytes32) {
        return keccak256(abi.encode(CID_TYPEHASH, cid.digest, cid.codec));
    }
}
