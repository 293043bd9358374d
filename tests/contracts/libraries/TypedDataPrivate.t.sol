// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, Result} from "../../../contracts/interfaces/IFederation.sol";
import {PrivateResult} from "../../../contracts/interfaces/IPrivateFederation.sol";
import {TypedData} from "../../../contracts/libraries/TypedData.sol";
import {
    CommitSignedRow,
    ConfirmedSignedRow,
    GoldenSigned,
    HeldSignedRow,
    ReleaseSignedRow,
    ResultSignedRow,
    RevealSignedRow
} from "../support/GoldenSigned.sol";

/// @notice EIP-712 in Solidity gives the golden digests of what is signed in private federations.
contract TypedDataPrivateTest is GoldenSigned {
    function test_the_golden_digests_of_commits() public view {
        CommitSignedRow[] memory rows = _commitRows();
        bytes32 kind = keccak256("Commit(uint64 round,address party,uint8 weight,bytes32 maskKey)");
        for (uint256 i = 0; i < rows.length; ++i) {
            CommitSignedRow memory row = rows[i];
            bytes32 structHash = keccak256(abi.encode(kind, row.round, row.party, row.weight, row.maskKey));
            assertEq(structHash, row.structHash);
            assertEq(
                TypedData.hashMaskedCommit(row.round, row.party, row.weight, row.maskKey), row.structHash
            );
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_golden_digests_of_reveals() public view {
        RevealSignedRow[] memory rows = _revealRows();
        bytes32 kind = keccak256(
            "Reveal(uint64 round,address party,bytes32 commitsHash,bytes32 root,Cid cid)Cid(bytes32 digest,uint8 codec)"
        );
        for (uint256 i = 0; i < rows.length; ++i) {
            RevealSignedRow memory row = rows[i];
            bytes32 structHash = keccak256(
                abi.encode(
                    kind, row.round, row.party, row.commitsHash, row.root, _cid(row.cidDigest, row.cidCodec)
                )
            );
            assertEq(structHash, row.structHash);
            Cid memory cid = Cid(row.cidDigest, row.cidCodec);
            assertEq(this.hashReveal(row.round, row.party, row.commitsHash, row.root, cid), row.structHash);
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_golden_digests_of_claims() public view {
        HeldSignedRow[] memory rows = _heldRows();
        bytes32 kind = keccak256("Held(uint64 round,bytes32 commitsHash,bytes32 updatesHash,uint128 held)");
        for (uint256 i = 0; i < rows.length; ++i) {
            HeldSignedRow memory row = rows[i];
            bytes32 structHash =
                keccak256(abi.encode(kind, row.round, row.commitsHash, row.updatesHash, row.held));
            assertEq(structHash, row.structHash);
            uint128 held = uint128(uint256(row.held));
            assertEq(TypedData.hashHeld(row.round, row.commitsHash, row.updatesHash, held), row.structHash);
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_golden_digests_of_confirmations() public view {
        ConfirmedSignedRow[] memory rows = _confirmedRows();
        bytes32 kind = keccak256("Confirmed(uint64 round,bytes32 lock)");
        for (uint256 i = 0; i < rows.length; ++i) {
            ConfirmedSignedRow memory row = rows[i];
            bytes32 structHash = keccak256(abi.encode(kind, row.round, row.lock));
            assertEq(structHash, row.structHash);
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_golden_digests_of_releases() public view {
        ReleaseSignedRow[] memory rows = _releaseRows();
        bytes32 kind = keccak256("Release(uint64 round,bytes32 lock,Cid cid)Cid(bytes32 digest,uint8 codec)");
        for (uint256 i = 0; i < rows.length; ++i) {
            ReleaseSignedRow memory row = rows[i];
            bytes32 structHash =
                keccak256(abi.encode(kind, row.round, row.lock, _cid(row.cidDigest, row.cidCodec)));
            assertEq(structHash, row.structHash);
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_golden_digests_of_results() public view {
        ResultSignedRow[] memory rows = _resultRows();
        bytes32 kind = keccak256(
            "Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,bytes32 seedsHash,bytes32 globalRoot,Cid globalCid)Cid(bytes32 digest,uint8 codec)"
        );
        for (uint256 i = 0; i < rows.length; ++i) {
            ResultSignedRow memory row = rows[i];
            bytes32 structHash = keccak256(
                abi.encode(
                    kind,
                    row.round,
                    row.updatesHash,
                    row.baseRoot,
                    row.included,
                    row.seedsHash,
                    row.globalRoot,
                    _cid(row.cidDigest, row.cidCodec)
                )
            );
            assertEq(structHash, row.structHash);
            assertEq(this.hashPrivateResult(_resultOf(row)), row.structHash);
            _check(structHash, row.chainId, row.federation, row.domainSeparator, row.digest);
        }
    }

    function test_the_digest_is_that_of_the_contract_which_calls() public view {
        ResultSignedRow memory row = _resultRows()[0];
        bytes32 digest = keccak256(bytes.concat(hex"1901", TypedData.domainSeparator(), row.structHash));
        assertEq(TypedData.digestOf(row.structHash), digest);
    }

    function hashReveal(uint256 round, address party, bytes32 commitsHash, bytes32 root, Cid calldata cid)
        external
        pure
        returns (bytes32)
    {
        return TypedData.hashReveal(round, party, commitsHash, root, cid);
    }

    function hashPrivateResult(PrivateResult calldata signed) external pure returns (bytes32) {
        return TypedData.hashPrivateResult(signed);
    }

    function _resultOf(ResultSignedRow memory row) private pure returns (PrivateResult memory) {
        Result memory result = Result(
            row.round,
            row.updatesHash,
            row.baseRoot,
            uint128(uint256(row.included)),
            row.globalRoot,
            Cid(row.cidDigest, row.cidCodec)
        );
        return PrivateResult(result, row.seedsHash);
    }

    function _cid(bytes32 digest, uint8 codec) private pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("Cid(bytes32 digest,uint8 codec)"), digest, codec));
    }

    function _check(
        bytes32 structHash,
        uint256 chainId,
        address federation,
        bytes32 domainSeparator,
        bytes32 digest
    ) private pure {
        bytes32 domain = keccak256(
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
        );
        bytes32 separator =
            keccak256(abi.encode(domain, keccak256("Federation"), keccak256("1"), chainId, federation));
        assertEq(separator, domainSeparator);
        assertEq(keccak256(bytes.concat(hex"1901", separator, structHash)), digest);
    }
}
