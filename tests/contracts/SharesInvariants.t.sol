// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {IRewardShares} from "../../contracts/interfaces/IRewardShares.sol";
import {SharesHandler} from "./support/SharesHandler.sol";

/// @notice See INVARIANTS.md, "Rewards by shares".
contract SharesInvariantsTest is Test {
    SharesHandler private handler;
    IRewardShares private rewards;
    bytes4[] private selectors;

    function setUp() public {
        handler = SharesHandler(deployCode("SharesHandler.sol:SharesHandler"));
        rewards = IRewardShares(handler.rewardsAddress());
        targetContract(address(handler));
        selectors.push(SharesHandler.fund.selector);
        selectors.push(SharesHandler.distribute.selector);
        selectors.push(SharesHandler.distribute.selector);
        selectors.push(SharesHandler.withdraw.selector);
        selectors.push(SharesHandler.leave.selector);
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    function invariant_all() public view {
        S01_the_balance_is_the_pot_and_the_credits();
        S02_every_wei_is_accounted_for();
    }

    function S01_the_balance_is_the_pot_and_the_credits() private view {
        assertEq(address(rewards).balance, rewards.pot() + handler.creditOfAll());
    }

    function S02_every_wei_is_accounted_for() private view {
        assertEq(rewards.pot(), handler.funded() - handler.credited());
        assertEq(handler.creditOfAll(), handler.credited() - handler.withdrawn());
        assertEq(handler.paidToAll(), handler.withdrawn());
    }

    function test_the_handler_reaches_everything() public {
        handler.fund(1);
        handler.distribute(1, 1);
        handler.distribute(1, 3);
        handler.withdraw(0);
        handler.withdraw(1);
        handler.leave();
        assertEq(handler.done("funded"), 1);
        assertEq(handler.done("distributed"), 1);
        assertEq(handler.done("refused"), 1);
        assertEq(handler.done("withdrawn"), 2);
        assertEq(handler.done("left"), 1);
        S01_the_balance_is_the_pot_and_the_credits();
        S02_every_wei_is_accounted_for();
    }
}
