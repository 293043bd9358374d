// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Time, or somebody with many accounts, makes every call dearer until none fits a block. Nothing gets dearer
/// with the number of rounds or of accounts. Gas of whole transactions (`isolate`).
contract UnboundedGrowthTest is FederationTest {
    uint256 private used;

    /// @dev Up to the zero bytes of hashes in calldata.
    function test_round_100_costs_what_round_3_did() public {
        _fund(100 * REWARD);
        uint256 third = 0;
        for (uint256 round = 1; round < 100; ++round) {
            uint256 cost = _costOfRound();
            if (round == 3) third = cost;
        }
        assertApproxEqRel(_costOfRound(), third, 0.002e18);
    }

    function test_a_round_opens_at_the_same_cost_for_few_and_many_parties() public {
        Params memory p = _crowd();
        p.minUpdates = 1;
        federation = _deploy(p);
        _populate(4, 1);
        uint256 few = _costOfOpening();
        for (uint256 i = 4; i < 200; ++i) {
            _register(_party(i), Role.Party, STAKE);
        }
        assertApproxEqAbs(_costOfOpening(), few, 100);
    }

    /// @dev The 200th party registers, deposits and leaves at the cost of the fifth.
    function test_an_account_costs_the_same_among_few_and_many() public {
        federation = _deploy(_crowd());
        _populate(4, 1);
        _openRound();
        uint256 few = _costOfAccount(4);
        for (uint256 i = 5; i < 200; ++i) {
            _register(_party(i), Role.Party, STAKE);
        }
        assertApproxEqAbs(_costOfAccount(200), few, 100);
    }

    function _costOfOpening() private returns (uint256) {
        // Twice, so that no slot is written for the first time.
        for (uint256 i = 0; i < 2; ++i) {
            used = 0;
            federation.openRound();
            _meter();
            vm.roll(_current().seedBlock + 1);
            federation.openRound();
            _meter();
            _endPhase();
        }
        return used;
    }

    function _costOfAccount(uint256 i) private returns (uint256) {
        used = 0;
        _register(_party(i), Role.Party, STAKE);
        _meter();
        _deposit(_party(i), 1 ether);
        _meter();
        _requestUnbond(_party(i), Role.Party);
        _meter();
        return used;
    }

    function _costOfRound() private returns (uint256) {
        used = 0;
        federation.openRound();
        _meter();
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _meter();
        for (uint256 i = 0; i < 3; ++i) {
            _commit(i);
            _meter();
        }
        _endPhase();
        Update[] memory updates = _updates(3);
        federation.reveal(updates);
        _meter();
        Result memory result = _result();
        _attest(result, AGGREGATORS);
        _meter();
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        _meter();
        CountedUpdate[] memory counted = _counted(updates);
        federation.distribute(result, counted);
        _meter();
        return used;
    }

    function _meter() private {
        used += vm.lastCallGas().gasTotalUsed;
    }
}
