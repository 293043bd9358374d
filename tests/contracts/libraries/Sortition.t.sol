// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Sortition} from "../../../contracts/libraries/Sortition.sol";
import {GoldenTest} from "../support/GoldenTest.sol";

/// @notice See Sortition.tree.
contract SortitionTest is GoldenTest {
    struct Draw {
        bool drawn;
        uint256 participants;
        address party;
        bytes32 seed;
        bytes32 stake;
        bytes32 totalStake;
    }

    uint256 internal constant STAKE_LIMIT = 2 ** 96 - 1;
    uint256 internal constant TOTAL_LIMIT = 2 ** 112 - 1;
    uint256 internal constant PARTICIPANTS_LIMIT = 2 ** 16 - 1;

    function test_Drawn_WhenTheStakeIsZero() public view {
        for (uint256 i = 0; i < 100; ++i) {
            assertFalse(Sortition.drawn(bytes32(i), address(this), 0, 1, PARTICIPANTS_LIMIT));
        }
    }

    function test_Drawn_WhenTheExpectationIsOneSeatOrMore() public view {
        for (uint256 i = 0; i < 100; ++i) {
            assertTrue(Sortition.drawn(bytes32(i), address(this), 10 ether, 100 ether, 10));
            assertTrue(Sortition.drawn(bytes32(i), address(this), 11 ether, 100 ether, 10));
        }
    }

    /// @dev 2^128 tickets times a total below 2^112 stay below 2^240; so does the other side. A total of
    /// 2^112 - 1 in front of the greatest stake and all participants: certain.
    function test_Drawn_WhenAllValuesAreAtTheirLimits() public pure {
        for (uint160 i = 0; i < 100; ++i) {
            assertTrue(
                Sortition.drawn("seed", address(i), STAKE_LIMIT, STAKE_LIMIT, PARTICIPANTS_LIMIT), "certain"
            );
            // A probability of (2^96 - 1)(2^16 - 1) / (2^112 - 1): 1 - 2^-16, about.
            assertEq(
                Sortition.drawn("seed", address(i), STAKE_LIMIT, TOTAL_LIMIT, PARTICIPANTS_LIMIT),
                _reference("seed", address(i), STAKE_LIMIT, TOTAL_LIMIT, PARTICIPANTS_LIMIT)
            );
            assertFalse(Sortition.drawn("seed", address(i), 1, TOTAL_LIMIT, 1), "hopeless");
        }
    }

    /// @dev Of 2^128 tickets the share has those below it. Here ticket * 2^111 = (22776 * stake) << 128.
    function test_Drawn_WhenTheTicketIsExactlyTheShare() public pure {
        bytes32 seed = bytes32(uint256(240_738));
        address party = address(0xC0FFEE);
        uint96 stake = 0xccb110aa64298dd91110f933;
        uint256 ticket = uint256(keccak256(abi.encode(seed, party))) >> 128;
        assertEq(ticket, uint256(22_776) * stake << 17);
        assertFalse(Sortition.drawn(seed, party, stake, 2 ** 111, 22_776));
        assertTrue(Sortition.drawn(seed, party, stake + 1, 2 ** 111, 22_776));
    }

    function test_Drawn_WhenTheGoldenDrawsAreGiven() public view {
        Draw[] memory draws = abi.decode(
            vm.parseJsonTypeArray(
                golden,
                ".draws",
                "D(bool drawn,uint256 participants,address party,bytes32 seed,bytes32 stake,bytes32 totalStake)"
            ),
            (Draw[])
        );
        uint256 drawn = 0;
        for (uint256 i = 0; i < draws.length; ++i) {
            Draw memory d = draws[i];
            bool found =
                Sortition.drawn(d.seed, d.party, uint256(d.stake), uint256(d.totalStake), d.participants);
            assertEq(found, d.drawn);
            if (found) ++drawn;
        }
        assertTrue(drawn != 0 && drawn != draws.length);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Against 512-bit arithmetic, which cannot drop a bit.
    function testFuzz_NothingOverflows(
        bytes32 seed,
        address party,
        uint96 stake,
        uint112 total,
        uint16 participants
    ) public pure {
        assertEq(
            Sortition.drawn(seed, party, stake, total, participants),
            _reference(seed, party, stake, total, participants)
        );
    }

    /// @dev More stake never loses a seat.
    function testFuzz_MoreStakeNeverLosesASeat(bytes32 seed, address party, uint96 stake, uint96 more)
        public
        pure
    {
        more = uint96(bound(more, stake, type(uint96).max));
        if (Sortition.drawn(seed, party, stake, TOTAL_LIMIT, 1_000)) {
            assertTrue(Sortition.drawn(seed, party, more, TOTAL_LIMIT, 1_000));
        }
    }

    /// @dev The draw follows the stake: of 4,000 tickets with a probability of a quarter, 1,000 within five
    /// standard deviations.
    function test_the_draw_follows_the_stake() public pure {
        uint256 drawn = 0;
        for (uint160 i = 0; i < 4_000; ++i) {
            if (Sortition.drawn("seed", address(i), 5 ether, 100 ether, 5)) ++drawn;
        }
        assertApproxEqAbs(drawn, 1_000, 137);
    }

    function _reference(bytes32 seed, address party, uint256 stake, uint256 total, uint256 participants)
        private
        pure
        returns (bool)
    {
        uint256 ticket = uint256(keccak256(abi.encode(seed, party))) >> 128;
        (uint256 leftHigh, uint256 leftLow) = _multiply(ticket, total);
        (uint256 rightHigh, uint256 rightLow) = _multiply(participants * stake, 2 ** 128);
        return leftHigh < rightHigh || (leftHigh == rightHigh && leftLow < rightLow);
    }

    /// @dev The 512-bit product, by the Chinese remainder theorem.
    function _multiply(uint256 a, uint256 b) private pure returns (uint256 high, uint256 low) {
        unchecked {
            low = a * b;
            uint256 remainder = mulmod(a, b, type(uint256).max);
            high = remainder - low;
            if (remainder < low) --high;
        }
    }
}
