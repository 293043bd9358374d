// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Somebody chooses the moment at which `distribute` is called, and what happens before, to get more of the
/// pot. Who gets what of a round is fixed by the round.
contract DrainedRewardsTest is FederationTest {
    /// @dev Two rounds, distributed in either order, at any time, with the pot filled or not in between.
    function test_the_order_of_distribution_does_not_matter() public {
        Params memory p = _consortium();
        p.reward = 60 ether; // the second round finds 40
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        Result memory first = _toAccepted(4);
        CountedUpdate[] memory firstUpdates = _counted(_updates(4));
        Result memory second = _toAccepted(3);
        CountedUpdate[] memory secondUpdates = _counted(_updates(3));
        skip(30 days);
        federation.finalize();
        federation.finalize();

        uint256 start = vm.snapshotState();
        federation.distribute(first, firstUpdates);
        federation.distribute(second, secondUpdates);
        bytes32 expected = _credits();
        vm.revertToState(start);
        _fund(17 ether);
        federation.distribute(second, secondUpdates);
        _toAccepted(2);
        federation.distribute(first, firstUpdates);
        assertEq(_credits(), expected);
    }

    /// @dev An attacker that registers, funds, or leaves before the call gets nothing of the others' shares.
    function test_nothing_done_before_the_call_moves_a_share() public {
        Result memory result = _toAccepted(4);
        CountedUpdate[] memory updates = _counted(_updates(4));
        skip(30 days);
        federation.finalize();

        address mallory = makeAddr("mallory");
        _join(mallory, Role.Aggregator, 1_000_000 ether);
        _join(mallory, Role.Party, 1_000_000 ether);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _requestUnbond(_aggregator(1), Role.Aggregator);
        skip(2 days);
        _withdraw(_aggregator(0), Role.Aggregator);
        federation.distribute(result, updates);

        assertEq(federation.observe(mallory).credit, 0);
        assertEq(federation.observe(_aggregator(0)).credit, 0, "gone");
        assertEq(federation.observe(_aggregator(1)).credit, 0.5 ether, "leaving");
        assertEq(federation.observe(_aggregator(2)).credit, 0.5 ether);
        assertEq(federation.observe(_party(0)).credit, 2 ether);
        assertEq(_observe().freePot, POT - REWARD + 0.5 ether);
    }

    /// @dev A signer that comes back under another account, or after a break, has no share twice.
    function test_a_signer_that_comes_back_has_no_share_in_the_past() public {
        Result memory result = _toAccepted(4);
        CountedUpdate[] memory updates = _counted(_updates(4));
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(30 days);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
        _register(_aggregator(0), Role.Aggregator, 1_000 ether);
        assertEq(federation.seatHolder(0), _aggregator(0));
        federation.distribute(result, updates);
        assertEq(federation.observe(_aggregator(0)).credit, 0);
    }

    /// @dev Rounds accepted while the pot is empty have nothing reserved, and take nothing of what comes later.
    function test_a_round_takes_nothing_that_came_after_it() public {
        Params memory p = _consortium();
        p.reward = POT;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAccepted(3);
        Result memory empty = _toAccepted(3);
        CountedUpdate[] memory updates = _counted(_updates(3));
        _fund(POT);
        skip(30 days);
        federation.finalize();
        federation.finalize();
        federation.distribute(empty, updates);
        assertEq(federation.observe(_party(0)).credit, 0);
        assertEq(_observe().freePot, POT);
    }

    function _credits() private view returns (bytes32) {
        uint256[] memory credits = new uint256[](PARTIES + AGGREGATORS);
        for (uint256 i = 0; i < PARTIES; ++i) {
            credits[i] = federation.observe(_party(i)).credit;
        }
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            credits[PARTIES + i] = federation.observe(_aggregator(i)).credit;
        }
        return keccak256(abi.encode(credits));
    }
}
