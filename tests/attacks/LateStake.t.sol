// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result, Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A rich account places its stake when it knows the seed block, or its hash: to be drawn for certain, or to
/// outvote everybody (G2).
contract LateStakeTest is FederationTest {
    uint256 internal constant FORTUNE = 1_000_000 ether;

    address internal mallory = makeAddr("mallory");

    /// @dev Its stake buys no seat in that round, and raises nobody else's bar; it is bound for the unbonding time.
    function test_stake_placed_after_the_seed_block_was_named_does_not_count() public {
        federation = _deploy(_crowd());
        _populate(20, 1);
        federation.openRound();
        vm.roll(_current().seedBlock + 1);
        _register(mallory, Role.Party, FORTUNE);
        _deposit(_party(0), FORTUNE);
        federation.openRound();
        vm.expectRevert(IFederation.NotActive.selector);
        vm.prank(mallory);
        federation.commit(1, "some");
        uint256 drawn = 0;
        for (uint256 i = 0; i < 20; ++i) {
            assertEq(_frozenStakeOf(_party(i)), STAKE);
            if (federation.observe(_party(i)).drawn) ++drawn;
        }
        assertGt(drawn, 0);
        assertLt(drawn, 20);

        vm.startPrank(mallory);
        federation.requestUnbond(mallory, Role.Party);
        vm.expectPartialRevert(IFederation.StillUnbonding.selector);
        federation.withdraw(mallory, Role.Party);
        vm.stopPrank();
    }

    /// @dev A late vote does not count, and does not raise the quorum either.
    function test_a_vote_placed_after_the_seed_block_was_named_does_not_count() public {
        federation.openRound();
        _join(_aggregator(9), Role.Aggregator, FORTUNE);
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
        Result memory result = _result();
        Signature[] memory late = _only(_sign(_aggregatorKey(9), result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, late);
        _attest(result, 3);
        assertPhase(Phase.Accepted);
    }

    /// @dev Whoever does not like the hash waits until it is lost, and stakes more meanwhile: another block is
    /// named, and the freeze stands.
    function test_letting_the_hash_lapse_does_not_thaw_the_stakes() public {
        federation = _deploy(_crowd());
        _populate(20, 1);
        federation.openRound();
        for (uint256 i = 0; i < 3; ++i) {
            vm.roll(_current().seedBlock + 257);
            _deposit(_party(0), FORTUNE);
            federation.openRound();
            assertPhase(Phase.Seeding);
        }
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        assertPhase(Phase.Commit);
        assertEq(_frozenStakeOf(_party(0)), STAKE);
        assertEq(_current().partyStake, 20 * STAKE);
    }
}
