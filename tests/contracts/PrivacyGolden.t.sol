// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    CommitListRow,
    ContextRow,
    GoldenPrivacy,
    LabelRow,
    PieceRow,
    PublicKeyRow,
    SealRow,
    SeatRow,
    StepRow,
    StreamRow,
    SumRow
} from "./support/GoldenPrivacy.sol";

/// @notice Solidity computes what the golden vectors of private rounds say, written in the plainest way:
/// what the contracts have to equal.
contract PrivacyGoldenTest is GoldenPrivacy {
    uint256 private constant FIELD = 2 ** 256 - 2 ** 32 - 977;

    function test_the_golden_labels() public view {
        LabelRow[] memory rows = _labelRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(keccak256(abi.encodePacked("flo.", rows[i].name)), rows[i].label);
        }
    }

    function test_the_golden_seat_table() public view {
        SeatRow[] memory rows = _seatRows();
        bytes32 current;
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(current, rows[i].previous);
            uint256 word = uint256(uint160(rows[i].account)) << 96 | uint256(rows[i].stake);
            current = keccak256(abi.encode(current, word, rows[i].key));
            assertEq(current, rows[i].seatsHash);
        }
    }

    function test_the_golden_list_of_commits() public view {
        CommitListRow[] memory rows = _commitListRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            uint256 word = uint256(uint160(rows[i].party)) << 96 | rows[i].weight;
            bytes32 current = keccak256(abi.encode(rows[i].previous, word, rows[i].maskKey));
            assertEq(current, rows[i].commitsHash);
            if (i + 1 < rows.length) assertEq(current, rows[i + 1].previous);
        }
    }

    function test_the_golden_contexts_and_locks() public view {
        ContextRow[] memory rows = _contextRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            ContextRow memory row = rows[i];
            bytes32 ctx = keccak256(
                abi.encode(
                    keccak256("flo.context"),
                    row.chainId,
                    row.federation,
                    row.round,
                    row.baseRoot,
                    row.commitsHash,
                    row.seatsHash
                )
            );
            assertEq(ctx, row.ctx);
            assertEq(keccak256(abi.encode(ctx, row.locked)), row.lock);
        }
    }

    function test_the_golden_keys_are_on_the_curve_or_not() public view {
        PublicKeyRow[] memory rows = _publicKeyRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(_isOnCurve(uint256(rows[i].x)), rows[i].onCurve);
        }
    }

    function test_the_golden_streams() public view {
        StreamRow[] memory rows = _streamRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(_stream(rows[i].seed, rows[i].n), rows[i].value);
        }
    }

    function test_the_golden_seals_and_roots() public view {
        SealRow[] memory rows = _sealRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            SealRow memory row = rows[i];
            bytes32 sealHash = keccak256(abi.encode(keccak256(row.head), keccak256(row.body)));
            assertEq(sealHash, row.sealHash);
            assertEq(keccak256(abi.encode(row.valuesRoot, sealHash)), row.root);
            bytes memory hashes;
            for (uint256 l = 0; l < row.seeds.length; ++l) {
                hashes = bytes.concat(hashes, keccak256(abi.encode(row.seeds[l])));
            }
            assertEq(row.head, hashes);
        }
    }

    function test_the_golden_pieces_lead_to_their_root() public view {
        PieceRow[] memory rows = _pieceRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            PieceRow memory row = rows[i];
            bytes32 node = keccak256(abi.encode(row.piece));
            assertEq(node, row.leaf);
            for (uint256 height = 0; height < row.path.length; ++height) {
                bytes32 sibling = row.path[height];
                node = row.index >> height & 1 == 1
                    ? keccak256(bytes.concat(sibling, node))
                    : keccak256(bytes.concat(node, sibling));
            }
            assertEq(node, row.root);
        }
    }

    function test_the_golden_sums_and_steps() public view {
        SumRow[] memory rows = _sumRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            SumRow memory row = rows[i];
            uint256 updates = row.included.length;
            assertEq(row.seeds.length, 32 * updates * (1 + row.commits - updates));
            assertEq(keccak256(row.seeds), row.seedsHash);
            int256 sum = _sum(row);
            assertEq(sum, row.sum);
            assertEq(_step(sum, row.weight, row.stepLimit), row.step);
        }
    }

    function test_the_golden_steps_at_the_limits() public view {
        StepRow[] memory rows = _stepRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(_step(rows[i].sum, rows[i].weight, rows[i].stepLimit), rows[i].step);
        }
    }

    /// @dev By place: the included update's own seed, then its seeds with each index not included, ascending.
    function _sum(SumRow memory row) private pure returns (int256) {
        uint256 total;
        uint256 number;
        for (uint256 place = 0; place < row.included.length; ++place) {
            uint256 k = row.included[place];
            total += row.masked[place];
            total += 2 ** 32 - _stream(_seedAt(row.seeds, number++), row.coordinate);
            for (uint256 j = 0; j < row.commits; ++j) {
                if (_isIncluded(row.included, j)) continue;
                uint256 mask = _stream(_seedAt(row.seeds, number++), row.coordinate);
                total += k < j ? 2 ** 32 - mask : mask;
            }
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        return int32(uint32(total));
    }

    function _isIncluded(uint256[] memory included, uint256 index) private pure returns (bool) {
        for (uint256 place = 0; place < included.length; ++place) {
            if (included[place] == index) return true;
        }
        return false;
    }

    function _seedAt(bytes memory seeds, uint256 place) private pure returns (bytes32 seed) {
        assembly ("memory-safe") {
            seed := mload(add(add(seeds, 32), mul(place, 32)))
        }
    }

    function _stream(bytes32 seed, uint256 n) private pure returns (uint256) {
        uint256 word = uint256(keccak256(abi.encode(seed, n / 8)));
        return word >> (224 - 32 * (n % 8)) & type(uint32).max;
    }

    function _step(int256 sum, int256 weight, int256 limit) private pure returns (int256 step) {
        int256 numerator = 2 * sum + weight;
        int256 denominator = 2 * weight;
        step = numerator / denominator;
        if (numerator % denominator < 0) --step; // towards minus infinity
        if (step > limit) return limit;
        if (step < -limit) return -limit;
    }

    /// @dev By Euler's criterion, whether x^3 + 7 is a square. No point has y = 0.
    function _isOnCurve(uint256 x) private view returns (bool) {
        if (x >= FIELD) return false;
        uint256 square = addmod(mulmod(mulmod(x, x, FIELD), x, FIELD), 7, FIELD);
        (bool success, bytes memory power) = address(5)
            .staticcall(abi.encode(uint256(32), uint256(32), uint256(32), square, (FIELD - 1) / 2, FIELD));
        assertTrue(success);
        return abi.decode(power, (uint256)) == 1;
    }
}
