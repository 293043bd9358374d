// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Role} from "../../contracts/interfaces/IFederation.sol";
import {SharesTest} from "../contracts/support/SharesTest.sol";

/// @notice An admitted aggregator puts in a thousand times the others' stake, signs the whole pot to itself, and
/// unbonds. Shares are not slashable, so the stake costs it nothing but time.
contract RewardSharesWhaleTest is SharesTest {
    uint256 private constant WHALE = 4;
    uint256 private constant FORTUNE = 1_000 * AGGREGATORS * STAKE;
    uint256 private constant WHALE_BIT = 1 << WHALE;

    address private whale = _aggregator(WHALE);

    /// @dev It is first in the block, and gone at its end.
    function test_a_stake_of_one_block_counts_for_nothing() public {
        _join(whale, Role.Aggregator, FORTUNE);
        _refusedQuorum(0, 4 * STAKE, 0, 4);
        _distribute(_sharesOf(whale, uint96(SHARES_POT)), WHALE_BIT);
        _requestUnbond(whale, Role.Aggregator);
        _distribute(_shares(), THREE);
    }

    /// @dev It stays until a round counts its stake. Even with an ally it is two of five.
    function test_a_stake_that_counts_is_one_seat() public {
        _join(whale, Role.Aggregator, FORTUNE);
        _openRound();
        _refusedQuorum(FORTUNE, FORTUNE + 4 * STAKE, 1, 5);
        _distribute(_sharesOf(whale, uint96(SHARES_POT)), WHALE_BIT);
        _refusedQuorum(FORTUNE + STAKE, FORTUNE + 4 * STAKE, 2, 5);
        _distribute(_sharesOf(whale, uint96(SHARES_POT)), WHALE_BIT | 1);
        assertEq(rewards.pot(), SHARES_POT);
    }

    /// @dev While it is there it has a veto, as over results; the owner ends that, and takes nothing.
    function test_its_veto_ends_with_its_admission() public {
        _join(whale, Role.Aggregator, FORTUNE);
        _openRound();
        _refusedQuorum(4 * STAKE, FORTUNE + 4 * STAKE, 4, 5);
        _distribute(_shares(), ALL);
        vm.prank(owner);
        federation.remove(whale, Role.Aggregator);
        _distribute(_shares(), ALL);
    }
}
