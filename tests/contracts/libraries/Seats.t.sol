// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Signature} from "../../../contracts/interfaces/IFederation.sol";
import {IModelMirror} from "../../../contracts/interfaces/IModelMirror.sol";
import {Seats} from "../../../contracts/libraries/Seats.sol";
import {TypedData} from "../../../contracts/libraries/TypedData.sol";

/// @notice See Seats.tree.
contract SeatsTest is Test {
    function requireValid(bytes32[] calldata seats) external pure {
        Seats.requireValid(seats);
    }

    function requireQuorum(
        bytes32[] calldata seats,
        bytes32 digest,
        uint256 signers,
        Signature[] calldata signatures
    ) external pure returns (uint256) {
        return Seats.requireQuorum(seats, digest, signers, signatures);
    }

    function test_RequireValid_WhenTheyAreInOrderEachWithAStake() public view {
        this.requireValid(_seats([uint96(1), type(uint96).max, 3, 4, 5]));
    }

    function test_RequireValid_RevertWhen_TheyAreNot() public {
        bytes32[] memory seats = _seats([uint96(1), 2, 3, 4, 0]);
        vm.expectRevert(IModelMirror.InvalidSeats.selector);
        this.requireValid(seats);
        seats = _seats([uint96(1), 2, 3, 4, 5]);
        (seats[3], seats[4]) = (seats[4], seats[3]);
        vm.expectRevert(IModelMirror.InvalidSeats.selector);
        this.requireValid(seats);
    }

    function test_RequireQuorum_WhenMoreThanTwoThirdsOfTheStakeHasSigned() public view {
        _expectQuorum([uint96(1), 1, 1, 1, 1], 15, true);
        _expectQuorum([type(uint96).max, type(uint96).max, type(uint96).max, 1, 1], 7, true);
    }

    function test_RequireQuorum_RevertWhen_LessHasSigned() public view {
        _expectQuorum([uint96(1), 1, 1, 1, 2], 15, false);
        _expectQuorum([uint96(1), 1, 1, 1, 1], 0, false);
    }

    function testFuzz_a_quorum_is_more_than_two_thirds(uint96[5] memory stakes, uint8 signers) public view {
        for (uint256 i = 0; i < 5; ++i) {
            stakes[i] = uint96(bound(stakes[i], 1, type(uint96).max));
        }
        signers &= 31;
        uint256 total = 0;
        uint256 signed = 0;
        for (uint256 i = 0; i < 5; ++i) {
            total += stakes[i];
            if (signers >> i & 1 == 1) signed += stakes[i];
        }
        _expectQuorum(stakes, signers, signed * 3 > total * 2);
    }

    function testFuzz_no_other_signature_counts(bytes32 digest, bytes32 other) public view {
        vm.assume(digest != other);
        (bytes32[] memory seats, Signature[] memory signatures) = _signed([uint96(1), 1, 1, 1, 1], 31, digest);
        try this.requireQuorum(seats, other, 31, signatures) {
            revert("it counted");
        } catch (bytes memory reason) {
            assertEq(bytes4(reason), IModelMirror.NotSignedBySeat.selector);
        }
    }

    /// @dev The domain of a federation, as the federation itself computes it.
    function testFuzz_the_domain_is_that_of_the_contract(uint64 chainId) public {
        vm.assume(chainId != 0);
        vm.chainId(chainId);
        assertEq(Seats.domain("Federation", chainId, address(this)), TypedData.domainSeparator());
    }

    // ------------------------------------------------------------------ steps

    function _keys() private pure returns (uint256[5] memory keys) {
        for (uint256 i = 0; i < 5; ++i) {
            uint256 key = i + 1;
            uint256 j = i;
            for (; j > 0 && vm.addr(keys[j - 1]) > vm.addr(key); --j) {
                keys[j] = keys[j - 1];
            }
            keys[j] = key;
        }
    }

    function _seats(uint96[5] memory stakes) private pure returns (bytes32[] memory seats) {
        uint256[5] memory keys = _keys();
        seats = new bytes32[](5);
        for (uint256 i = 0; i < 5; ++i) {
            seats[i] = bytes32(uint256(uint160(vm.addr(keys[i]))) << 96 | stakes[i]);
        }
    }

    function _signed(uint96[5] memory stakes, uint256 signers, bytes32 digest)
        private
        pure
        returns (bytes32[] memory seats, Signature[] memory signatures)
    {
        uint256[5] memory keys = _keys();
        seats = _seats(stakes);
        signatures = new Signature[](5);
        uint256 count = 0;
        for (uint256 i = 0; i < 5; ++i) {
            if (signers >> i & 1 == 1) {
                (signatures[count].r, signatures[count].vs) = vm.signCompact(keys[i], digest);
                ++count;
            }
        }
        assembly ("memory-safe") {
            mstore(signatures, count)
        }
    }

    function _expectQuorum(uint96[5] memory stakes, uint256 signers, bool enough) private view {
        (bytes32[] memory seats, Signature[] memory signatures) = _signed(stakes, signers, "digest");
        try this.requireQuorum(seats, "digest", signers, signatures) returns (uint256 signed) {
            assertTrue(enough);
            uint256 expected = 0;
            for (uint256 i = 0; i < 5; ++i) {
                if (signers >> i & 1 == 1) expected += stakes[i];
            }
            assertEq(signed, expected);
        } catch (bytes memory reason) {
            assertFalse(enough);
            assertEq(bytes4(reason), IModelMirror.NoQuorum.selector);
        }
    }
}
