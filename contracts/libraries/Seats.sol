// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {Signature} from "../interfaces/IFederation.sol";
import {IModelMirror} from "../interfaces/IModelMirror.sol";
import {Bitmap} from "./Bitmap.sol";
import {TypedData} from "./TypedData.sol";

/// @title The seats of a mirror: a list of accounts with stakes, of which only the hash is stored
/// @notice A seat is one word, `uint160(account) << 96 | stake`. Passing the list costs less than reading it.
library Seats {
    /// @dev As many as a federation has.
    uint256 private constant SEATS = 64;

    bytes32 internal constant SEAT_CHANGE_TYPEHASH =
        keccak256("SeatChange(uint256 nonce,uint64 fromRound,bytes32[] seats)");

    /// @notice What a contract signs or verifies for, anywhere.
    function domain(string memory name, uint256 chainId, address verifying) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(TypedData.DOMAIN_TYPEHASH, keccak256(bytes(name)), keccak256("1"), chainId, verifying)
        );
    }

    /// @notice As EIP-712 hashes an array.
    function listHash(bytes32[] memory seats) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(seats));
    }

    function hashChange(uint256 nonce, uint64 fromRound, bytes32[] memory seats)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(SEAT_CHANGE_TYPEHASH, nonce, fromRound, listHash(seats)));
    }

    function requireValid(bytes32[] memory seats) internal pure {
        if (seats.length == 0 || seats.length > SEATS) revert IModelMirror.InvalidSeats();
        uint256 last = 0;
        for (uint256 i = 0; i < seats.length; ++i) {
            uint256 account = uint256(seats[i]) >> 96;
            if (account <= last || uint96(uint256(seats[i])) == 0) revert IModelMirror.InvalidSeats();
            last = account;
        }
    }

    /// @notice Requires that seats with more than 2/3 of the stake have signed.
    /// @return signed Their stake.
    function requireQuorum(
        bytes32[] calldata seats,
        bytes32 digest,
        uint256 signers,
        Signature[] calldata signatures
    ) internal pure returns (uint256 signed) {
        if (signers >> seats.length != 0 || Bitmap.count(signers) != signatures.length) {
            revert IModelMirror.WrongSignatureCount();
        }
        uint256 total = 0;
        uint256 next = 0;
        for (uint256 i = 0; i < seats.length; ++i) {
            uint256 seat = uint256(seats[i]);
            total += uint96(seat);
            if (Bitmap.has(signers, i)) {
                // An invalid signature has the signer zero, which has no seat.
                // slither-disable-next-line unused-return
                (address signer,,) = ECDSA.tryRecover(digest, signatures[next].r, signatures[next].vs);
                if (signer != address(uint160(seat >> 96))) revert IModelMirror.NotSignedBySeat(i);
                signed += uint96(seat);
                ++next;
            }
        }
        if (3 * signed <= 2 * total) revert IModelMirror.NoQuorum(signed, total);
    }

    /// @notice What is signed in a domain.
    function typedDigest(bytes32 domainSeparator, bytes32 structHash) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator, structHash);
    }
}
